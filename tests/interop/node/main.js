// Drives a member through the Node client `etcd3` (on @grpc/grpc-js): key-value, transaction, watch, lease, lock, election.
const assert = require('node:assert');
const { Etcd3 } = require('etcd3');

const client = new Etcd3({ hosts: `http://${process.argv[2]}` });

const scenarios = {
  async 'key value'() {
    await client.put('js/a').value('1');
    assert.equal(await client.get('js/a').string(), '1');
    for (let i = 0; i < 20; i++) await client.put(`js/list/${String(i).padStart(2, '0')}`).value(i);
    const all = await client.getAll().prefix('js/list/').numbers();
    assert.deepEqual(Object.values(all), [...Array(20).keys()]);
    assert.equal((await client.delete().prefix('js/list/')).deleted, '20');
  },
  async transaction() {
    const create = () => client.if('js/t', 'Version', '==', 0).then(client.put('js/t').value('x')).else(client.get('js/t')).commit();
    assert.equal((await create()).succeeded, true);
    assert.equal((await create()).succeeded, false);
    await client.delete().key('js/t');
  },
  async watch() {
    const watcher = await client.watch().prefix('js/w/').create();
    const seen = [];
    const done = new Promise((resolve) => watcher.on('put', (kv) => seen.push(Number(kv.value.toString())) === 50 && resolve()));
    for (let i = 0; i < 50; i++) await client.put(`js/w/${i}`).value(i);
    await done;
    assert.deepEqual(seen, [...Array(50).keys()]);
    await watcher.cancel();
  },
  async lease() {
    const lease = client.lease(60, { autoKeepAlive: false });
    await lease.put('js/l').value('x');
    await lease.keepaliveOnce();
    await lease.revoke();
    assert.equal(await client.get('js/l').string(), null);
  },
  async lock() {
    const lock = client.lock('js/lock').ttl(10);
    await lock.acquire();
    await assert.rejects(client.lock('js/lock').ttl(10).acquire());
    await lock.release();
  },
  async election() {
    const election = client.election('js/election', 10);
    const campaign = election.campaign('one');
    await campaign.wait();
    assert.equal(await election.leader(), 'one');
    await campaign.resign();
  },
};

(async () => {
  for (const [name, run] of Object.entries(scenarios)) {
    await run();
    console.log('ok', name);
  }
  client.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
