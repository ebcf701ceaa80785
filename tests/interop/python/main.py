"""Drives a member through the Python client `etcd3`: key-value, transaction, watch, lease, lock. Prints one line a scenario."""

import sys
import threading

import etcd3

host, port = sys.argv[1].rsplit(":", 1)
client = etcd3.client(host=host, port=int(port), timeout=10)


def key_value():
    client.put("py/a", "1")
    value, meta = client.get("py/a")
    assert value == b"1" and meta.version >= 1, (value, meta)
    for i in range(20):
        client.put(f"py/list/{i:02}", str(i))
    assert [int(value) for value, _ in client.get_prefix("py/list/")] == list(range(20))
    assert client.delete_prefix("py/list/").deleted == 20


def transaction():
    client.put("py/t", "old")
    ok, _ = client.transaction(
        compare=[client.transactions.value("py/t") == "old"],
        success=[client.transactions.put("py/t", "new")],
        failure=[client.transactions.get("py/t")],
    )
    assert ok and client.get("py/t")[0] == b"new"
    assert not client.replace("py/t", "old", "x")


def watch():
    events, cancel = client.watch_prefix("py/w/")
    writer = threading.Thread(target=lambda: [client.put(f"py/w/{i}", str(i)) for i in range(50)])
    writer.start()
    seen = [int(next(events).value) for _ in range(50)]
    cancel()
    writer.join()
    assert seen == list(range(50)), seen


def lease():
    lease = client.lease(60)
    client.put("py/l", "x", lease=lease)
    assert lease.granted_ttl == 60 and lease.keys == [b"py/l"]
    assert list(lease.refresh())[0].TTL == 60
    lease.revoke()
    assert client.get("py/l")[0] is None


def lock():
    with client.lock("py/lock", ttl=10) as held:
        assert held.is_acquired()


def maintenance():
    assert client.status().version and client.hash() is not None and len(list(client.members)) == 1


for scenario in [key_value, transaction, watch, lease, lock, maintenance]:
    scenario()
    print("ok", scenario.__name__.replace("_", " "))
