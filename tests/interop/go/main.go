// Drives a member through Go's own client library: key-value, transactions, watch, lease, lock and election, and traffic of the
// shape that Kubernetes makes. Prints one line a scenario; exits with 1 at the first thing that is not as it should be.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

type scenario struct {
	name string
	run  func(context.Context, *clientv3.Client)
}

func main() {
	endpoint := os.Args[1]
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	must(err)
	defer client.Close()
	scenarios := []scenario{
		{"kv", keyValue}, {"txn", transaction}, {"watch", watch}, {"lease", lease}, {"lock", lock}, {"election", election},
		{"kubernetes create update delete", guarded}, {"kubernetes list and watch", listAndWatch}, {"kubernetes events", leaseEvents},
		{"range stream of sizes", sizes}, {"maintenance", maintenance},
	}
	for _, s := range scenarios {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		s.run(ctx, client)
		cancel()
		fmt.Println("ok", s.name)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		panic(err)
	}
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func keyValue(ctx context.Context, c *clientv3.Client) {
	_, err := c.Put(ctx, "go/a", "1")
	must(err)
	put, err := c.Put(ctx, "go/a", "2", clientv3.WithPrevKV())
	must(err)
	check(string(put.PrevKv.Value) == "1", "prev_kv %v", put.PrevKv)
	got, err := c.Get(ctx, "go/a")
	must(err)
	check(len(got.Kvs) == 1 && string(got.Kvs[0].Value) == "2" && got.Kvs[0].Version >= 2, "get %v", got)
	old, err := c.Get(ctx, "go/a", clientv3.WithRev(put.Header.Revision-1))
	must(err)
	check(string(old.Kvs[0].Value) == "1", "old %v", old)
	del, err := c.Delete(ctx, "go/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	must(err)
	check(del.Deleted == 1 && len(del.PrevKvs) == 1, "delete %v", del)
	_, err = c.Put(ctx, "", "x")
	check(err != nil && strings.Contains(err.Error(), "key is not provided"), "empty key: %v", err)
	_, err = c.Get(ctx, "x", clientv3.WithRev(1<<40))
	check(err != nil && strings.Contains(err.Error(), "future revision"), "future revision: %v", err)
}

func transaction(ctx context.Context, c *clientv3.Client) {
	first, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version("go/t"), "=", 0)).Then(clientv3.OpPut("go/t", "x"), clientv3.OpGet("go/t")).Commit()
	must(err)
	check(first.Succeeded && string(first.Responses[1].GetResponseRange().Kvs[0].Value) == "x", "txn %v", first)
	second, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version("go/t"), "=", 0)).Then(clientv3.OpPut("go/t", "y")).
		Else(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value("go/t"), "=", "x")}, []clientv3.Op{clientv3.OpDelete("go/t")}, nil)).Commit()
	must(err)
	check(!second.Succeeded && second.Responses[0].GetResponseTxn().Succeeded, "nested %v", second)
	gone, err := c.Get(ctx, "go/t")
	must(err)
	check(gone.Count == 0, "deleted by the nested txn")
}

func watch(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start, err := c.Put(ctx, "go/w/0", "0")
	must(err)
	events := c.Watch(ctx, "go/w/", clientv3.WithPrefix(), clientv3.WithRev(start.Header.Revision), clientv3.WithPrevKV())
	for i := 1; i <= 100; i++ {
		_, err := c.Put(ctx, "go/w/0", fmt.Sprint(i))
		must(err)
	}
	next := 0
	for next <= 100 {
		answer := <-events
		must(answer.Err())
		for _, event := range answer.Events {
			check(string(event.Kv.Value) == fmt.Sprint(next), "event %d is %s", next, event.Kv.Value)
			check(next == 0 || string(event.PrevKv.Value) == fmt.Sprint(next-1), "prev of %d is %v", next, event.PrevKv)
			next++
		}
	}
	_, err = c.Compact(ctx, start.Header.Revision+50, clientv3.WithCompactPhysical())
	must(err)
	late := <-c.Watch(ctx, "go/w/0", clientv3.WithRev(start.Header.Revision))
	check(late.CompactRevision == start.Header.Revision+50, "compacted watch: %v", late)
}

func lease(ctx context.Context, c *clientv3.Client) {
	grant, err := c.Grant(ctx, 2)
	must(err)
	_, err = c.Put(ctx, "go/l", "x", clientv3.WithLease(grant.ID))
	must(err)
	keep, err := c.KeepAliveOnce(ctx, grant.ID)
	must(err)
	check(keep.TTL == 2, "ttl %d", keep.TTL)
	ttl, err := c.TimeToLive(ctx, grant.ID, clientv3.WithAttachedKeys())
	must(err)
	check(len(ttl.Keys) == 1 && ttl.GrantedTTL == 2, "time to live %v", ttl)
	deleted := c.Watch(ctx, "go/l")
	answer := <-deleted
	check(answer.Events[0].Type == clientv3.EventTypeDelete, "expiry deletes the key: %v", answer)
	_, err = c.KeepAliveOnce(ctx, grant.ID)
	check(err != nil && strings.Contains(err.Error(), "lease not found"), "expired lease: %v", err)
}

func lock(ctx context.Context, c *clientv3.Client) {
	const workers, rounds = 5, 10
	counter, done := 0, make(chan error, workers)
	for range workers {
		go func() {
			session, err := concurrency.NewSession(c, concurrency.WithTTL(10))
			if err != nil {
				done <- err
				return
			}
			defer session.Close()
			mutex := concurrency.NewMutex(session, "go/lock")
			for range rounds {
				if err := mutex.Lock(ctx); err != nil {
					done <- err
					return
				}
				was := counter
				time.Sleep(time.Millisecond)
				counter = was + 1
				if err := mutex.Unlock(ctx); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		must(<-done)
	}
	check(counter == workers*rounds, "the lock let two in: %d", counter)
}

func election(ctx context.Context, c *clientv3.Client) {
	first, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	must(err)
	second, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	must(err)
	one, two := concurrency.NewElection(first, "go/election"), concurrency.NewElection(second, "go/election")
	must(one.Campaign(ctx, "one"))
	won := make(chan error, 1)
	go func() { won <- two.Campaign(ctx, "two") }()
	leader, err := one.Leader(ctx)
	must(err)
	check(string(leader.Kvs[0].Value) == "one", "leader %v", leader)
	must(one.Resign(ctx))
	must(<-won)
	leader, err = two.Leader(ctx)
	must(err)
	check(string(leader.Kvs[0].Value) == "two", "leader %v", leader)
	must(first.Close())
	must(second.Close())
}

// guarded writes as an API server does: create if absent, update and delete if unchanged.
func guarded(ctx context.Context, c *clientv3.Client) {
	key := "/registry/pods/default/web-0"
	create := func() *clientv3.TxnResponse {
		answer, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).Then(clientv3.OpPut(key, "v1")).Commit()
		must(err)
		return answer
	}
	created := create()
	check(created.Succeeded, "create")
	check(!create().Succeeded, "a second create must fail")
	update := func(rev int64) *clientv3.TxnResponse {
		answer, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).Then(clientv3.OpPut(key, "v2")).Else(clientv3.OpGet(key)).Commit()
		must(err)
		return answer
	}
	updated := update(created.Header.Revision)
	check(updated.Succeeded, "update")
	stale := update(created.Header.Revision)
	check(!stale.Succeeded && stale.Responses[0].GetResponseRange().Kvs[0].ModRevision == updated.Header.Revision, "stale update %v", stale)
	deleted, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", updated.Header.Revision)).Then(clientv3.OpDelete(key)).Else(clientv3.OpGet(key)).Commit()
	must(err)
	check(deleted.Succeeded, "delete")
}

// listAndWatch pages through a list at one revision while writes go on, then watches from it with progress requests.
func listAndWatch(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	const objects = 1234
	prefix := "/registry/configmaps/"
	for i := range objects {
		_, err := c.Put(ctx, fmt.Sprintf("%sns/%05d", prefix, i), strings.Repeat("x", 200))
		must(err)
	}
	end, from, seen := clientv3.GetPrefixRangeEnd(prefix), prefix, 0
	var revision int64
	for {
		page, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(500), clientv3.WithRev(revision))
		must(err)
		if revision == 0 {
			revision = page.Header.Revision
		}
		check(page.Count == int64(objects-seen), "count %d after %d", page.Count, seen)
		seen += len(page.Kvs)
		// A write between two pages must not show in the list.
		_, err = c.Put(ctx, fmt.Sprintf("%sns/%05d-late", prefix, seen), "late")
		must(err)
		if !page.More {
			break
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
	check(seen == objects, "listed %d", seen)
	events := c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	for late := 0; late < 3; {
		answer := <-events
		must(answer.Err())
		for _, event := range answer.Events {
			check(event.Kv.ModRevision > revision && event.IsCreate(), "event %v", event)
			late++
		}
	}
	must(c.RequestProgress(ctx))
	answer := <-events
	check(answer.IsProgressNotify() && answer.Header.Revision > revision, "progress %v", answer)
}

func leaseEvents(ctx context.Context, c *clientv3.Client) {
	grant, err := c.Grant(ctx, 3600)
	must(err)
	for i := range 100 {
		_, err := c.Put(ctx, fmt.Sprintf("/registry/events/default/e%03d", i), "event", clientv3.WithLease(grant.ID))
		must(err)
	}
	_, err = c.Revoke(ctx, grant.ID)
	must(err)
	left, err := c.Get(ctx, "/registry/events/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(err)
	check(left.Count == 0, "%d events left", left.Count)
}

func sizes(ctx context.Context, c *clientv3.Client) {
	for _, size := range []int{0, 1, 1000, 16 << 10, 64 << 10, 1 << 20, 1500000} {
		value := strings.Repeat("v", size)
		_, err := c.Put(ctx, "go/size", value)
		must(err)
		got, err := c.Get(ctx, "go/size")
		must(err)
		check(string(got.Kvs[0].Value) == value, "value of %d bytes came back as %d", size, len(got.Kvs[0].Value))
	}
	_, err := c.Put(ctx, "go/size", strings.Repeat("v", 1600000))
	check(err != nil && strings.Contains(err.Error(), "request is too large"), "too large: %v", err)
}

func maintenance(ctx context.Context, c *clientv3.Client) {
	status, err := c.Status(ctx, c.Endpoints()[0])
	must(err)
	check(status.Leader == status.Header.MemberId && status.DbSize > 0, "status %v", status)
	_, err = c.HashKV(ctx, c.Endpoints()[0], 0)
	must(err)
	_, err = c.Defragment(ctx, c.Endpoints()[0])
	must(err)
	alarms, err := c.AlarmList(ctx)
	must(err)
	check(len(alarms.Alarms) == 0, "alarms %v", alarms)
	members, err := c.MemberList(ctx)
	must(err)
	check(len(members.Members) == 1, "members %v", members)
	image, err := c.Snapshot(ctx)
	must(err)
	var size int64
	for buffer := make([]byte, 1<<16); ; {
		n, err := image.Read(buffer)
		size += int64(n)
		if err != nil {
			break
		}
	}
	check(size%512 == 32, "snapshot of %d bytes", size)
}
