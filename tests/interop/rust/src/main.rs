//! Drives a member through the Rust client `etcd-client`: key-value, transaction, watch, lease. Prints one line a scenario.

use etcd_client::{Client, Compare, CompareOp, EventType, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let endpoint = std::env::args().nth(1).ok_or("usage: interop ENDPOINT")?;
    let mut client = Client::connect([endpoint], None).await?;
    key_value(&mut client).await?;
    println!("ok key value");
    transaction(&mut client).await?;
    println!("ok transaction");
    watch(&mut client).await?;
    println!("ok watch");
    lease(&mut client).await?;
    println!("ok lease");
    Ok(())
}

async fn key_value(client: &mut Client) -> Outcome {
    for i in 0..100 {
        client.put(format!("rs/{i:03}"), i.to_string(), None).await?;
    }
    let page = client.get("rs/", Some(GetOptions::new().with_prefix().with_limit(10))).await?;
    assert_eq!((page.kvs().len(), page.count(), page.more()), (10, 100, true));
    let deleted = client.delete("rs/", Some(etcd_client::DeleteOptions::new().with_prefix())).await?;
    assert_eq!(deleted.deleted(), 100);
    Ok(())
}

async fn transaction(client: &mut Client) -> Outcome {
    let create = || {
        Txn::new().when([Compare::version("rs/t", CompareOp::Equal, 0)]).and_then([TxnOp::put("rs/t", "x", None)]).or_else([TxnOp::get(
            "rs/t", None,
        )])
    };
    assert!(client.txn(create()).await?.succeeded());
    assert!(!client.txn(create()).await?.succeeded());
    client.delete("rs/t", None).await?;
    Ok(())
}

async fn watch(client: &mut Client) -> Outcome {
    let mut stream = client.watch("rs/w", Some(WatchOptions::new().with_prev_key())).await?;
    stream.message().await?.filter(|created| created.created()).ok_or("not created")?;
    for i in 0..50 {
        client.put("rs/w", i.to_string(), None).await?;
    }
    let mut next = 0;
    while next < 50 {
        let answer = stream.message().await?.ok_or("the stream ended")?;
        for event in answer.events() {
            assert_eq!(event.event_type(), EventType::Put);
            assert_eq!(event.kv().ok_or("no kv")?.value_str()?, next.to_string());
            next += 1;
        }
    }
    Ok(())
}

async fn lease(client: &mut Client) -> Outcome {
    let id = client.lease_grant(60, None).await?.id();
    client.put("rs/l", "x", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    assert_eq!(answers.message().await?.ok_or("no answer")?.ttl(), 60);
    client.lease_revoke(id).await?;
    assert_eq!(client.get("rs/l", None).await?.count(), 0);
    Ok(())
}
