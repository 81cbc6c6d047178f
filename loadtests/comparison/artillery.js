// Numbers the members; the first one sends for a minute, the others listen as long.
let members = 0;

exports.number = (context, _events, next) => {
  const number = members++;
  const turns = number === 0 ? Array.from({ length: 60 }, (_, turn) => turn) : [];
  Object.assign(context.vars, { number, turns, rest: number === 0 ? 1 : 61 });
  next();
};
