#!/usr/bin/env node
// Runs the public HTTP cache tests (npm http-cache-tests) against the release binary, in one or all configurations.
//
//   node scripts/cache-suite.mjs                  the profile "rfc" in memory: counts and every failing id
//   node scripts/cache-suite.mjs all              one row for each configuration, same score expected in every row
//   node scripts/cache-suite.mjs redis chained    only these rows
//   node scripts/cache-suite.mjs --id=ID          one test, with its messages
//
// SUITE=/path/to/cache-tests runs a checkout of github.com/http-tests/cache-tests instead, where newer tests are: it
// adds CDN-Cache-Control, interim responses and stale-while-revalidate, and asks for other things of Age and of 304.
// Run `npm install` there first.
//
// Needs node 20, npm and, for the Redis rows, redis-server. Everything it starts listens on loopback and ends with it.

import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const EDITION = '0.4.5'
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const work = path.join(root, 'target', 'cache-suite')
const binary = process.env.EVENLY ?? path.join(root, 'target', 'release', 'evenly')
const suite = process.env.SUITE ?? path.join(work, 'node_modules', 'http-cache-tests')
// Newer editions keep what runs the tests in a folder of its own.
const engine = fs.existsSync(path.join(suite, 'test-engine')) ? path.join(suite, 'test-engine') : suite

// Each row: what differs from one proxy with the profile "rfc" and a memory of 10,000 entries.
const ROWS = {
  memory: {},
  safe: { profile: 'safe' },
  tinylfu: { policy: 'tiny_lfu' },
  redis: { store: 'redis' },
  tiered: { store: 'tiered' },
  http2: { http2: true },
  // Without a second chance for 502, 503 and 504: the tests cannot tell a retry from a cache that asks twice.
  'three upstreams': { upstreams: 3, more: '[retry]\nstatuses = []\n' },
  chained: { chain: true },
  'under load': { load: 1000 },
  reloading: { reload: true }
}

const children = []
const stop = () => children.forEach(child => child.kill('SIGKILL'))
process.on('exit', stop)
process.on('SIGINT', () => process.exit(130))

const freePort = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})

async function listening (port, what) {
  for (let deadline = Date.now() + 15000; Date.now() < deadline;) {
    const open = await new Promise(resolve => {
      const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`${what} does not listen on port ${port} after 15 s`)
}

function start (command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options })
  children.push(child)
  return child
}

function install () {
  fs.mkdirSync(work, { recursive: true })
  if (fs.existsSync(path.join(engine, 'cli.mjs'))) return
  if (process.env.SUITE) throw new Error(`SUITE=${suite}: there is no cli.mjs of the cache tests`)
  fs.writeFileSync(path.join(work, 'package.json'), '{"private":true}')
  execFileSync('npm', ['install', '--silent', '--omit=dev', `http-cache-tests@${EDITION}`], { cwd: work, stdio: 'inherit' })
}

// The origin listens on every address of one port; it keeps the state of the tests.
async function origin () {
  const port = await freePort()
  const env = { ...process.env, npm_config_protocol: 'http', npm_config_port: String(port), npm_config_pidfile: path.join(work, 'server.pid') }
  start('node', ['--no-warnings', path.join(engine, 'server', 'server.mjs')], { cwd: suite, env })
  await listening(port, 'the test server')
  return port
}

async function proxy (row, upstreams, redisPort) {
  const port = await freePort()
  const file = path.join(work, `evenly-${port}.toml`)
  fs.writeFileSync(file, `[server]
port = "127.0.0.1:${port}"
reverse = true
proxy_pass = [${upstreams.map(upstream => `"${upstream}"`).join(', ')}]
cache = true
cache_type = "${row.store ?? 'memory'}"
cache_profile = "${row.profile ?? 'rfc'}"
stale_if_error = 3600
[mem]
capacity = 10000
${row.policy ? `cache_replacement_policy = "${row.policy}"\n` : ''}${redisPort ? `[redis]\nredis_host = "127.0.0.1:${redisPort}"\n` : ''}${row.more ?? ''}`)
  const log = `${file}.log`
  const child = start(binary, ['run', '--config', file], { stdio: ['ignore', 'ignore', fs.openSync(log, 'w')] })
  await listening(port, 'evenly').catch(error => { throw new Error(`${error.message}\n${fs.readFileSync(log, 'utf8').slice(-2000)}`) })
  return { port, file, child }
}

async function redis () {
  const port = await freePort()
  start('redis-server', ['--port', String(port), '--save', '', '--appendonly', 'no', '--bind', '127.0.0.1'], { stdio: 'ignore' })
  await listening(port, 'redis-server')
  return port
}

// The suite's client speaks HTTP/1.1: this turns its requests into HTTP/2 with prior knowledge.
async function throughHttp2 (port) {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', error => console.error(`HTTP/2: ${error.message}`))
  const own = new Set(['connection', 'host', 'keep-alive', 'transfer-encoding', 'upgrade', 'te'])
  const shim = http.createServer((request, response) => {
    const fields = { ':method': request.method, ':path': request.url, ':authority': request.headers.host }
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      const name = request.rawHeaders[at].toLowerCase()
      if (!own.has(name)) fields[name] = name in fields ? [].concat(fields[name], request.rawHeaders[at + 1]) : request.rawHeaders[at + 1]
    }
    const hasBody = 'content-length' in request.headers || 'transfer-encoding' in request.headers
    const stream = session.request(fields, { endStream: !hasBody })
    stream.on('response', (answer, flags, raw) => {
      const lines = []
      for (let at = 0; at < raw.length; at += 2) if (!raw[at].startsWith(':')) lines.push(raw[at], raw[at + 1])
      response.writeHead(answer[':status'], lines)
    })
    stream.on('error', () => response.destroy())
    stream.pipe(response)
    if (hasBody) request.pipe(stream)
    else request.resume()
  })
  const own_port = await freePort()
  await new Promise(resolve => shim.listen(own_port, '127.0.0.1', resolve))
  return { port: own_port, close: () => { shim.closeAllConnections(); shim.close(); session.destroy() } }
}

// Other traffic at a steady rate: 50 targets that are fresh for a second, so that of 1,000 requests about 50 are misses.
async function traffic (port, perSecond) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  const id = '00000000-0000-4000-8000-000000000000'
  const answer = [{ id: 'other-traffic', response_headers: [['Cache-Control', 'max-age=1']] }]
  await fetch(`http://127.0.0.1:${port}/config/${id}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) })
  const began = performance.now()
  let sent = 0; let answered = 0; let failed = 0
  const timer = setInterval(() => {
    for (const due = (performance.now() - began) * perSecond / 1000; sent < due; sent++) {
      const request = http.get({ port, host: '127.0.0.1', path: `/test/${id}?${sent % 50}`, headers: { 'req-num': '1' }, agent }, response => {
        response.statusCode === 200 ? answered++ : failed++
        response.resume()
      })
      request.on('error', () => failed++)
    }
  }, 10)
  return () => {
    clearInterval(timer)
    const rate = Math.round(answered * 1000 / (performance.now() - began))
    agent.destroy()
    return `${rate} other requests a second answered, ${failed} failed`
  }
}

function reloading ({ file, child }) {
  const text = fs.readFileSync(file, 'utf8')
  let times = 0
  const timer = setInterval(() => {
    times++
    fs.writeFileSync(file, `${text}\n# ${times}\n`)
    child.kill('SIGHUP')
  }, 1000)
  return () => { clearInterval(timer); return `${times} reloads` }
}

function runTests (port, id) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, npm_config_base: `http://127.0.0.1:${port}`, npm_config_id: id ?? '', npm_package_config_id: '' }
    const child = spawn('node', ['--no-warnings', path.join(engine, 'cli.mjs')], { cwd: suite, env, stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let text = ''
    child.stdout.on('data', piece => { text += piece })
    child.on('close', () => {
      if (id) return resolve(text)
      try { resolve(JSON.parse(text.slice(text.indexOf('{')))) } catch (error) { reject(new Error(`no results: ${error.message}\n${text.slice(-500)}`)) }
    })
  })
}

async function score (results) {
  const judge = ['results.mjs', 'display.mjs'].map(name => path.join(engine, 'lib', name)).find(file => fs.existsSync(file))
  const display = await import(judge)
  const tests = (await import(path.join(suite, 'tests', 'index.mjs'))).default
  const counts = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
  const failing = []
  for (const group of tests) {
    for (const test of group.tests) {
      if (test.browser_only) continue
      const kind = test.kind ?? 'required'
      const symbol = display.determineTestResult(tests, test.id, results)[2]
      counts[kind][1]++
      if (symbol === '✅' || symbol === 'Y') counts[kind][0]++
      else if (kind !== 'check') failing.push([kind, group.id, test.id, symbol, results[test.id] === true ? 'a test it depends on failed' : results[test.id]?.[1]])
    }
  }
  return { counts, failing }
}

async function runRow (name, id) {
  const row = ROWS[name]
  const port = await origin()
  const redisPort = row.store ? await redis() : undefined
  // One server under three names is three members for the balancer, with the state of the tests in one place.
  const upstreams = ['127.0.0.1', '127.0.0.2', '127.0.0.3'].slice(0, row.upstreams ?? 1).map(host => `${host}:${port}`)
  let front = await proxy(row, upstreams, redisPort)
  if (row.chain) front = await proxy(row, [`127.0.0.1:${front.port}`], redisPort)
  const shim = row.http2 ? await throughHttp2(front.port) : undefined
  const done = [row.load ? await traffic(front.port, row.load) : undefined, row.reload ? reloading(front) : undefined]
  const results = await runTests(shim?.port ?? front.port, id)
  const notes = done.filter(Boolean).map(end => end()).join('; ')
  shim?.close()
  stop()
  children.length = 0
  if (id) return console.log(results)
  return { name, notes, ...await score(results) }
}

const names = process.argv.slice(2).filter(word => !word.startsWith('--'))
const id = process.argv.find(word => word.startsWith('--id='))?.slice(5)
const rows = names.includes('all') ? Object.keys(ROWS) : names.length ? names : ['memory']
const unknown = rows.filter(name => !(name in ROWS))
if (unknown.length) throw new Error(`unknown row "${unknown[0]}" (known: ${Object.keys(ROWS).join(', ')})`)
if (!fs.existsSync(binary)) throw new Error(`${binary} is not there: cargo build --release -p evenly`)
install()
// What was measured: the binary, and the commit that it was most likely built from.
function subject () {
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim()
  const minutes = Math.round((Date.now() - fs.statSync(binary).mtimeMs) / 60000)
  let commit = 'no commit known'
  try { commit = execFileSync('git', ['log', '-1', '--format=commit %h of %cs'], { cwd: root, encoding: 'utf8' }).trim() } catch {}
  const edition = process.env.SUITE ? suite : `http-cache-tests ${EDITION}`
  return `${version}, built ${minutes} min ago, ${commit}; ${edition}; node ${process.version}`
}

const cell = ([passed, of]) => `${passed} / ${of}`
if (!id) console.log(`${subject()}\n`)
if (!id) console.log('| configuration | required | optimal | check: yes | |\n|---|---|---|---|---|')
let first
for (const name of rows) {
  const row = await runRow(name, id)
  if (!row) continue
  first ??= row
  console.log(`| ${row.name} | ${cell(row.counts.required)} | ${cell(row.counts.optimal)} | ${cell(row.counts.check)} | ${row.notes} |`)
  const known = first === row ? '' : JSON.stringify(first.failing.map(line => line[2]))
  if (JSON.stringify(row.failing.map(line => line[2])) !== known) {
    for (const [kind, group, test, symbol, why] of row.failing) console.log(`  ${symbol} ${kind} ${group} ${test}: ${why}`)
  }
}
process.exit(0)
