// An API that counts its visits in Redis: `/visits`, and `/health`, which is good when Redis answers.

import { createServer } from "node:http";
import { createConnection } from "node:net";

const { PORT, REDIS_PORT } = process.env;

const server = createServer(async ({ url }, response) => {
  console.log(`asked ${url}`);
  try {
    if (url === "/health") response.end(await redis("PING"));
    else if (url === "/visits") response.end(JSON.stringify({ visits: Number(await redis("INCR visits")) }));
    else response.writeHead(404).end();
  } catch (error) {
    console.error(`redis: ${error.message}`);
    response.writeHead(503).end();
  }
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`API listening on ${PORT}`));

/** Sends one command; the reply, without the sign of its type. */
function redis(command) {
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(REDIS_PORT), "127.0.0.1", () => socket.write(`${command}\r\n`));
    let reply = "";
    socket.setEncoding("utf8").on("data", (text) => {
      reply += text;
      if (reply.endsWith("\r\n")) socket.end();
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(reply.slice(1).trim()));
  });
}
