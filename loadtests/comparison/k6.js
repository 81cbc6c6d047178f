// k6 on the traffic of docs/LOADTESTING.md, "What other tools report": one room of 50, one sender.
//
// k6 run -e HOST=127.0.0.1:3001 loadtests/comparison/k6.js
//
// k6 supports WebSockets but not Socket.IO, so this script encodes and decodes the packets of Engine.IO and Socket.IO.
// k6 does not time WebSocket messages; the script computes the delivery time from the timestamp in the text.
import exec from "k6/execution";
import { Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";

const delivery = new Trend("delivery", true);
const acknowledgement = new Trend("acknowledgement", true);

export const options = {
  scenarios: { members: { executor: "per-vu-iterations", vus: 50, iterations: 1, maxDuration: "2m" } },
  summaryTrendStats: ["count", "med", "p(95)", "p(99)", "max"],
};

const JOIN = 0;
const SECONDS = 60;

export default function () {
  const number = exec.vu.idInTest;
  const socket = new WebSocket(`ws://${__ENV.HOST}/socket.io/?EIO=4&transport=websocket`);
  const sent = {};
  let sending;

  function ask(id, event, payload) {
    socket.send(`42${id}${JSON.stringify([event, payload])}`);
  }

  function send() {
    const id = Object.keys(sent).length + 1;
    sent[id] = Date.now();
    ask(id, "send-message", { message: String(sent[id]) });
  }

  socket.addEventListener("message", ({ data }) => {
    if (data === "2") {
      socket.send("3");
    } else if (data.startsWith("0")) {
      socket.send("40");
    } else if (data.startsWith("40")) {
      ask(JOIN, "join", { username: `member ${number}`, userId: `guest-${number}`, room: "comparison" });
    } else if (data.startsWith("43")) {
      const id = parseInt(data.slice(2));
      if (id !== JOIN) {
        acknowledgement.add(Date.now() - sent[id]);
      } else if (number === 1) {
        setTimeout(() => (sending = setInterval(send, 1000)), 3000);
      }
    } else if (data.startsWith('42["receive-message"')) {
      delivery.add(Date.now() - Number(JSON.parse(data.slice(2))[1].message));
    }
  });
  setTimeout(() => clearInterval(sending), (3 + SECONDS) * 1000);
  setTimeout(() => socket.close(), (8 + SECONDS) * 1000);
}
