// A partner's client in another language: npm http-message-signatures signs requests and believes only signed answers.
// Usage: node foreign_client.mjs <folder with node_modules> <base url> <keyid> <hub vkey> <key file> <push body>...
import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [home, base, keyid, hub, keyFile, ...bodies] = process.argv.slice(2);
const { httpbis, createSigner, createVerifier } = createRequire(home + '/')('http-message-signatures');
const sign = createSigner(createPrivateKey(readFileSync(keyFile)), 'ed25519', keyid);
const [name, id, ...rest] = hub.split('+');
const raw = Buffer.from(rest.join('+'), 'base64').subarray(1);
const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
const verify = createVerifier(createPublicKey({ key: spki, format: 'der', type: 'spki' }), 'ed25519');

async function call(method, path, body, type) {
  const url = base + path;
  const headers = { Host: new URL(base).host, ...(body && { 'Content-Type': type,
    'Content-Digest': `sha-256=:${createHash('sha256').update(body).digest('base64')}:` }) };
  const fields = ['@method', '@authority', '@path', '@query', ...(body ? ['content-type', 'content-digest'] : [])];
  const created = new Date();
  const signed = await httpbis.signMessage({
    key: sign, fields, name: 'partner', params: ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'],
    paramValues: { created, expires: new Date(created.getTime() + 60_000), nonce: randomBytes(16).toString('base64url'),
      tag: 'crossregion-hub/v1' },
  }, { method, url, headers });
  const { Host, ...sent } = signed.headers;
  const reply = await fetch(url, { method, headers: sent, body });
  const content = Buffer.from(await reply.arrayBuffer());
  const held = await httpbis.verifyMessage({
    keyLookup: async (params) => params.keyid === `${name}+${id}` ? { id: params.keyid, algs: ['ed25519'], verify } : null,
    requiredFields: ['@status', 'content-digest'], requiredParams: ['created', 'expires', 'keyid', 'alg', 'tag'],
  }, { status: reply.status, headers: Object.fromEntries(reply.headers) }, { method, url, headers: signed.headers });
  const digest = `sha-256=:${createHash('sha256').update(content).digest('base64')}:`;
  if (!held || reply.headers.get('content-digest') !== digest) throw new Error(`an answer nobody signed (${reply.status})`);
  return { status: reply.status, content };
}

const statuses = [];
for (const file of bodies) {
  const { status } = await call('POST', '/v1/batches', readFileSync(file), 'application/vnd.crossregion.batch');
  statuses.push(status);
}
let after = 0, size = 1, entries = 0;
while (after < size) {
  const { content } = await call('GET', `/v1/entries?after=${after}&notice=0`);
  const lines = content.toString().trim().split('\n').map((line) => JSON.parse(line));
  entries += lines.filter((line) => line.index !== undefined).length;
  const end = lines.at(-1);
  after = end.next;
  size = Number(end.checkpoint.split('\n')[1]);
}
const framework = JSON.parse((await call('GET', '/v1/framework')).content);
console.log(JSON.stringify({ statuses, entries, size, member: framework.member }));
