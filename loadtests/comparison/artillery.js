// Numbers the members: the first one sends for a minute, the others listen for the same time.
let members = 0;

exports.number = (context, _events, next) => {
  const number = members++;
  const rounds = number === 0 ? Array.from({ length: 60 }, (_, round) => round) : [];
  Object.assign(context.vars, { number, rounds, rest: number === 0 ? 1 : 61 });
  next();
};
