//! A router with few file descriptors, hundreds of hooks that want many, and a tenant that notices nothing of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use switchhook::Clock;
use tokio::net::UdpSocket;

use crate::world::{PATIENCE, Process, Tenant, World, full, joined};

const DESCRIPTORS: usize = 1024;

/// Descriptors that a router with so few keeps for the store, deliveries and look-ups.
const RESERVED: usize = 640;

fn files(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).expect("descriptors").count()
}

/// The router's own want of descriptors is never taken for a receiver's fault, and there is none.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_dead_names_and_addresses_use_up_no_descriptors_and_a_healthy_tenants_events_go_on() {
    let _turn = crate::turn().await;
    let dead = [UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await];
    let nameservers = dead.map(|dead| {
        let dead = dead.expect("a port");
        (format!("--nameserver={}", dead.local_addr().expect("an address")), dead)
    });
    let (full, _full) = full(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
    let tenant = Tenant::open().await;
    let url = |n: usize| {
        if !n.is_multiple_of(4) { format!("http://dead{n}.example/") } else { format!("http://{full}/{n}") }
    };
    let sick: String =
        (0..400).map(|n| format!("  - {{host: sick{n}.example, url: '{}'}}\n", url(n))).collect();
    let hooks = format!("hooks:\n{sick}  - {{host: good.example, url: '{}'}}\n", tenant.url());
    let mut world =
        World::at(Clock::system(), &hooks, &nameservers.each_ref().map(|(flag, _)| &flag[..])).await;
    world.stop().await;
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    let mut process = Process::spawn(&world, Command::new("sh").args(["-c", &limited, Process::BINARY]));
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for n in 0..400 {
        let id = format!("EV_{n}");
        process.post(joined(&id, &id, &format!("sick{n}.example"))).await;
        if n % 10 == 0 {
            let (id, before) = (format!("EV_good_{n}"), tenant.count());
            let began = Instant::now();
            process.post(joined(&id, &id, "good.example")).await;
            tenant.wait_for(before + 1).await;
            slowest = slowest.max(began.elapsed());
            most = most.max(files(&process));
        }
    }
    let began = Instant::now();
    while !process.lines().iter().any(|line| line["error"] == "dns") {
        assert!(began.elapsed() < PATIENCE, "no attempt fails");
        tokio::time::sleep(Duration::from_millis(50)).await;
        most = most.max(files(&process));
    }
    let told = process.lines();
    let faults = |name: &str| told.iter().filter(|line| line["error"] == name).count();
    println!(
        "most descriptors {most}, slowest {slowest:?}; dns {}, timeout {}",
        faults("dns"),
        faults("timeout")
    );
    assert!(most <= RESERVED, "{most} descriptors");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert_eq!((faults("local"), faults("refused")), (0, 0));
    process.stop();
}
