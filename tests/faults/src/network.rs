//! The network between the members and the clients: a TUN device each, and this process as the wire between them.
//!
//! Every packet passes here, so that each direction of each pair can be cut, delayed and made to lose packets, on any kernel. Delays
//! with a spread reorder packets, as netem's do.

#![allow(unsafe_code)] // one ioctl, to attach to a TUN device

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::chance::Chance;
use crate::sandbox::command;

/// The clients' place in the network; members count from 1.
pub const CLIENTS: u8 = 100;
/// TUN devices hand over at most this (their MTU).
const MTU_BYTES: usize = 1500;

pub fn address(place: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, place)
}

/// The network namespace of a member.
pub fn namespace(place: u8) -> String {
    format!("m{place}")
}

/// What one direction between two places does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    pub is_cut: bool,
    pub delay: Duration,
    /// The delay is spread evenly over this much less and more.
    pub spread: Duration,
    /// Lost, of 1000.
    pub loss: u32,
}

/// Packets on their way, the next to arrive on top.
type Delayed = BinaryHeap<Reverse<(Instant, u64, u8, Vec<u8>)>>;

struct Wire {
    places: Vec<u8>,
    devices: Vec<File>,
    links: RwLock<Vec<Link>>,
    delayed: Mutex<(Delayed, u64)>,
    arrival: Condvar,
}

/// The wire. Its threads end with the process.
#[derive(Clone)]
pub struct Network {
    wire: Arc<Wire>,
}

impl Network {
    /// Members 1 to `members`, each in a namespace of its own, and the clients in ours.
    pub fn new(members: u8) -> anyhow::Result<Network> {
        let places: Vec<u8> = (1..=members).chain([CLIENTS]).collect();
        let devices = places.iter().map(|place| device(*place)).collect::<anyhow::Result<Vec<File>>>()?;
        let links = RwLock::new(vec![Link::default(); places.len() * places.len()]);
        let wire = Arc::new(Wire {
            places,
            devices,
            links,
            delayed: Mutex::default(),
            arrival: Condvar::new(),
        });
        for from in 0..wire.places.len() {
            let wire = wire.clone();
            std::thread::Builder::new()
                .name(format!("wire-{from}"))
                .spawn(move || wire.read(from))?;
        }
        let delays = wire.clone();
        std::thread::Builder::new()
            .name(String::from("wire-delay"))
            .spawn(move || delays.deliver_late())?;
        Ok(Network { wire })
    }

    /// Sets the directions that the rule picks, by the places of sender and receiver.
    pub fn set(&self, link: Link, picks: impl Fn(u8, u8) -> bool) {
        let places = &self.wire.places;
        let mut links = self.wire.links.write().unwrap_or_else(PoisonError::into_inner);
        for (from, sender) in places.iter().enumerate() {
            for (to, receiver) in places.iter().enumerate() {
                if picks(*sender, *receiver) {
                    links[from * places.len() + to] = link;
                }
            }
        }
    }

    /// All as new.
    pub fn heal(&self) {
        self.set(Link::default(), |_, _| true);
    }
}

impl Wire {
    fn read(&self, from: usize) {
        let mut chance = Chance::new(from as u64);
        let mut packet = [0; MTU_BYTES];
        while let Ok(size) = (&self.devices[from]).read(&mut packet) {
            let packet = &packet[..size];
            // IPv4 to one of us; whatever else a namespace says is nobody's.
            let to = (size >= 20 && packet[0] >> 4 == 4)
                .then(|| self.places.iter().position(|place| *place == packet[19]))
                .flatten();
            if let Some(to) = to {
                self.pass(from, to, packet, &mut chance);
            }
        }
    }

    fn pass(&self, from: usize, to: usize, packet: &[u8], chance: &mut Chance) {
        let link = self.links.read().unwrap_or_else(PoisonError::into_inner)[from * self.places.len() + to];
        if link.is_cut || chance.below(1000) < u64::from(link.loss) {
            return;
        }
        if link.delay.is_zero() {
            self.write(to, packet);
            return;
        }
        let spread = Duration::from_micros(chance.below(2 * link.spread.as_micros() as u64 + 1));
        let at = Instant::now() + (link.delay + spread).saturating_sub(link.spread);
        let mut delayed = self.delayed.lock().unwrap_or_else(PoisonError::into_inner);
        delayed.1 += 1;
        let number = delayed.1;
        delayed.0.push(Reverse((at, number, to as u8, packet.to_vec())));
        self.arrival.notify_one();
    }

    fn write(&self, to: usize, packet: &[u8]) {
        // A device whose queue is full or whose other end is not up loses packets, as networks do.
        let _ = (&self.devices[to]).write(packet);
    }

    fn deliver_late(&self) {
        let mut delayed = self.delayed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            let wait = match delayed.0.peek() {
                None => Duration::from_secs(3600),
                Some(Reverse((at, ..))) => at.saturating_duration_since(now),
            };
            if wait.is_zero() {
                if let Some(Reverse((_, _, to, packet))) = delayed.0.pop() {
                    self.write(usize::from(to), &packet);
                }
                continue;
            }
            delayed = self.arrival.wait_timeout(delayed, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A TUN device with the place's address, in its namespace; what is written there is read here.
fn device(place: u8) -> anyhow::Result<File> {
    let (name, address) = (format!("q{place}"), format!("{}/24", address(place)));
    let file = attach(&name).with_context(|| format!("the TUN device {name}"))?;
    if place == CLIENTS {
        command("ip", &["addr", "add", &address, "dev", &name])?;
        command("ip", &["link", "set", &name, "up"])?;
        return Ok(file);
    }
    let namespace = namespace(place);
    command("ip", &["netns", "add", &namespace])?;
    command("ip", &["link", "set", &name, "netns", &namespace])?;
    command("ip", &["-n", &namespace, "addr", "add", &address, "dev", &name])?;
    command("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
    command("ip", &["-n", &namespace, "link", "set", &name, "up"])?;
    Ok(file)
}

fn attach(name: &str) -> anyhow::Result<File> {
    use rustix::ioctl::{Setter, ioctl};
    const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;
    const IFF_TUN_WITHOUT_HEADER: u16 = 0x0001 | 0x1000;
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // `struct ifreq`: the name in 16 bytes, then the flags.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&IFF_TUN_WITHOUT_HEADER.to_ne_bytes());
    // SAFETY: TUNSETIFF reads (and writes back) a `struct ifreq`, which is 40 bytes; the setter owns them for the call.
    unsafe { ioctl(&file, Setter::<TUNSETIFF, [u8; 40]>::new(request))? };
    Ok(file)
}
