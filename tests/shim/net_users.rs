//! Real programs on dhow's networks: nginx under load, postgres and its client.

use e2e::{Wires, World, fixtures, needs, until};

use super::net_tools::at;

fn long() -> bool {
    std::env::var_os("DHOW_LONG").is_some()
}

/// wrk from the machine elsewhere: the requests it made. No error may be among them.
fn wrk(w: &World, seconds: u32) -> u64 {
    let duration = format!("-d{seconds}s");
    let url = format!("http://{}:8080/", Wires::SERVER);
    let done = w.client(["wrk", "-t2", "-c64", "--timeout", "5s", &duration, &url]).ok();
    let out = done.out();
    assert!(!out.contains("Socket errors") && !out.contains("Non-2xx"), "{out}");
    let line = out.lines().find(|l| l.contains("requests in")).unwrap_or_else(|| panic!("{out}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// By hand, `DHOW_LONG=1`: a minute.
#[test]
fn nginx_serves_under_load_without_an_error_and_again_after_a_restart() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.add(&fixtures::nginx_layout(), "nginx");
    w.dhow(["run", "-d", "--name", "web", "-p", "8080:80", "nginx"]).ok();
    let url = format!("http://{}:8080/who", Wires::SERVER);
    let who = || w.client(["curl", "-s", "--max-time", "5", &url]);
    until("nginx serves", || who().code == 0);
    who().ok().out_is(Wires::CLIENT);
    let many = wrk(&w, if long() { 60 } else { 3 });
    println!("{many} requests");
    assert!(many > 1000, "{many} requests are few");
    w.dhow(["restart", "web"]).ok();
    until("nginx serves again", || who().code == 0);
    who().ok().out_is(Wires::CLIENT);
    wrk(&w, 1);
    // Loopback goes through the monitor.
    let loopback = ["wrk", "-t1", "-c32", "-d1s", "http://127.0.0.1:8080/"];
    let out = w.server(loopback).ok().out();
    assert!(!out.contains("Socket errors") && !out.contains("Non-2xx"), "{out}");
    w.remove_all();
}

/// An application of two: a database, and a client that knows it by its name.
#[test]
fn postgres_and_its_client_find_each_other_by_name() {
    needs!(Root, Nftables);
    if !long() && std::env::var_os("CI").is_some() {
        return; // Its image is half a minute's download.
    }
    let w = World::wired();
    w.add(&fixtures::postgres_layout(), "postgres");
    w.dhow(["network", "create", "app"]).ok();
    w.dhow(["volume", "create", "records"]).ok();
    let db = ["run", "-d", "--name", "db", "--network", "app", "--network-alias", "store"];
    w.dhow(db.iter().chain(&["-v", "records:/home/mate", "postgres"])).ok();
    let sql = |host: &str, sql: &str| {
        let psql = ["psql", "-h", host, "-U", "mate", "-Atqc", sql, "postgres"];
        w.dhow(["run", "--rm", "--network", "app", "postgres"].iter().chain(&psql))
    };
    until("postgres answers", || sql("db", "select 1").code == 0);
    sql("store", "create table cargo(what text); insert into cargo values('spice')").ok();
    w.dhow(["restart", "db"]).ok();
    until("postgres is back", || sql("db", "select 1").code == 0);
    sql("db", "select what from cargo").ok().out_is("spice");
    w.dhow(["run", "--rm", "postgres", "pg_isready", "-h", "db", "-t", "1"]).code(2);
    // Not published, so not to be had from elsewhere.
    w.wires().client.is_not_heard("tcp", &at(Wires::SERVER, 5432));
    w.remove_all();
    w.dhow(["volume", "rm", "records"]).ok();
    w.dhow(["network", "rm", "app"]).ok();
}
