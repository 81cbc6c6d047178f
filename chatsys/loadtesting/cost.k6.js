// What k6 spends on each push: USERS connect to the stock server of cost.py, and the first one requests PUSHES.
import exec from "k6/execution";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";

const users = Number(__ENV.USERS);
const pushes = Number(__ENV.PUSHES);
const delivery = new Trend("delivery", true);
const received = new Counter("pushes");

export const options = {
  scenarios: { users: { executor: "per-vu-iterations", vus: users, iterations: 1, maxDuration: "3m" } },
};

export default function () {
  const socket = new WebSocket(`ws://${__ENV.HOST}/socket.io/?EIO=4&transport=websocket`);
  let left = pushes;
  socket.addEventListener("message", ({ data }) => {
    if (data === "2") {
      socket.send("3");
    } else if (data.startsWith("0")) {
      socket.send("40");
    } else if (data.startsWith("40")) {
      if (exec.vu.idInTest === 1) {
        setTimeout(() => socket.send(`42["go",[${pushes}]]`), 3000); // by then the others are connected
      }
    } else if (data.startsWith('42["receive-message"')) {
      const [, message] = JSON.parse(data.slice(2));
      delivery.add(Date.now() - Date.parse(message.timestamp));
      received.add(1);
      left -= 1;
      if (left === 0) {
        socket.close();
      }
    }
  });
}

export function handleSummary({ metrics }) {
  return { stdout: `pushes=${metrics.pushes.values.count}\n` };
}
