// Fails where a client turns to any host but the sidecar's: to be imported before the client.

import dns from "node:dns";
import net from "node:net";

const elsewhere = [];
const isHere = (host) => ["127.0.0.1", "localhost", undefined].includes(host);

const lookUp = dns.lookup;
dns.lookup = (host, ...rest) => {
  if (isHere(host)) return lookUp(host, ...rest);
  elsewhere.push(host);
  rest.at(-1)(new Error(`${host} is not the sidecar`));
};
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const { host } = [given[0]].flat()[0] ?? {};
  if (!isHere(host) && net.isIP(host)) elsewhere.push(host);
  return connect.apply(this, given);
};

/** To be called at the end, since clients swallow errors. */
export function check() {
  if (elsewhere.length > 0) throw new Error(`the client turned to ${elsewhere}`);
}
