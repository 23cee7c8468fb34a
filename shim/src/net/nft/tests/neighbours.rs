//! Beside other firewalls, in namespaces where these have their own rules.

use super::super::*;
use super::wires::{Node, Wires};
use super::{network, port, said};

/// One network with one container whose port 80 is published as 8080.
struct House {
    wires: Wires,
    table: Table,
    inside: Node,
}

fn rules() -> NetworkRules {
    network("dhow0", &["172.18.0.1/24", "fd00:18::1/64"])
}

impl House {
    /// Beside these rules; forwarding was on before.
    fn beside(rules_of_others: &str) -> Self {
        let wires = Wires::new();
        wires.bridge("dhow0", &["172.18.0.1/24", "fd00:18::1/64"]);
        said(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        );
        said(rules_of_others);
        let table = Table::named("dhow").unwrap();
        table.ensure(&[rules()]).unwrap();
        let inside = wires.container("dhow0", "172.18.0.2", "fd00:18::2");
        let house = Self { wires, table, inside };
        house.publish();
        house.wires.client.serve("203.0.113.9:7");
        house.wires.client.serve("[2001:db8::9]:7");
        house
    }

    fn publish(&self) {
        let ports = [
            (port("0.0.0.0", 8080, 80), "172.18.0.2".parse().unwrap()),
            (port("::", 8080, 80), "fd00:18::2".parse().unwrap()),
        ];
        self.table.publish("one", &ports).unwrap();
    }

    fn works(&self) {
        let Self { wires, inside, .. } = self;
        assert_eq!(inside.seen("203.0.113.9:7"), "203.0.113.1");
        assert_eq!(inside.seen_by_udp("[2001:db8::9]:7"), "2001:db8::1");
        assert_eq!(wires.client.seen("203.0.113.1:8080"), "203.0.113.9");
        assert_eq!(wires.client.seen("[2001:db8::1]:8080"), "2001:db8::9");
        wires.client.reaches_not("172.18.0.2:80");
    }
}

/// All tables but dhow's.
fn others() -> String {
    said(
        "for t in $(nft list tables | sed 's/table //;s/ /:/' | grep -v dhow); do nft -s list table ${t%:*} ${t#*:}; done",
    )
}

/// What docker 28 has for its default bridge, ufw's skeleton, …: `iptables` and `ip6tables` both.
fn both(rules: &str) -> String {
    let lines = rules.lines().map(str::trim).filter(|l| !l.is_empty());
    lines.flat_map(|l| ["iptables ", l, "\n", "ip6tables ", l, "\n"]).collect()
}

const DOCKER: &str = "
    -P FORWARD DROP
    -N DOCKER
    -N DOCKER-FORWARD
    -N DOCKER-USER
    -A FORWARD -j DOCKER-USER
    -A FORWARD -j DOCKER-FORWARD
    -A DOCKER ! -i docker0 -o docker0 -j DROP
    -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A DOCKER-FORWARD -o docker0 -j DOCKER
    -A DOCKER-FORWARD -i docker0 -j ACCEPT
    -A DOCKER-USER -p 47 -j DROP
    -A DOCKER-USER -j RETURN";

const UFW: &str = "
    -P FORWARD DROP
    -N USER
    -N ufw-reject-forward
    -N ufw-before-forward
    -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A ufw-before-forward -j USER
    -A FORWARD -j ufw-before-forward
    -A FORWARD -j ufw-reject-forward
    -A ufw-reject-forward -j REJECT";

const FIREWALLD: &str = "nft -f - <<'END'
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname \"lo\" accept
        jump filter_FORWARD_POLICIES
        ct state { invalid } drop
        reject with icmpx type admin-prohibited
    }
    chain filter_FORWARD_POLICIES {
    }
}
END";

const ADMIN: &str = "nft -f - <<'END'
table inet filter {
    chain input { type filter hook input priority filter; policy accept; }
    chain forward { type filter hook forward priority filter; policy drop; ip saddr 192.0.2.1 accept; }
}
END";

#[test]
fn dockers_policy_lets_pass_by_one_rule_where_docker_wants_it() {
    let house = House::beside(&both(
        DOCKER.replace("-A DOCKER-USER -s 198.51.100.9 -j DROP\n", "").as_str(),
    ));
    let before = (said("iptables -S"), said("ip6tables -S"), others());
    house.wires.client.reaches_not("203.0.113.1:8080");
    assert_eq!(beside(&house.table).unwrap(), Vec::<String>::new());
    house.works();
    let rule = "-A DOCKER-USER -m mark --mark 0x40000000/0x40000000 \
                -m comment --comment \"dhow: what its own table accepted\" -j ACCEPT\n";
    for (tables, was) in [("iptables", &before.0), ("ip6tables", &before.1)] {
        let now = said(&format!("{tables} -S"));
        assert_eq!(now.replace(rule, ""), *was, "but for the one rule, nothing changed");
        assert!(now.contains(&format!("{rule}-A DOCKER-USER -j RETURN")), "{now}");
        // What iptables lists, it can save and restore.
        said(&format!("{tables}-save | {tables}-restore --test"));
    }
    beside(&house.table).unwrap();
    assert_eq!(said("iptables -S").matches("dhow:").count(), 1, "once is enough");

    // Another engine's network stays what it is: a dhow container is nothing special there.
    house.wires.bridge("docker0", &["172.30.0.1/24", "fd00:30::1/64"]);
    let theirs = house.wires.container("docker0", "172.30.0.2", "fd00:30::2");
    house.inside.reaches_not("172.30.0.2:80");
    house.inside.reaches_not("[fd00:30::2]:80");
    theirs.reaches_not("172.18.0.2:80");

    // The user's own word in that chain holds.
    said("iptables -I DOCKER-USER -s 203.0.113.9 -j DROP");
    house.wires.client.reaches_not("203.0.113.1:8080");
    said("iptables -D DOCKER-USER -s 203.0.113.9 -j DROP");

    // All of it comes back after everything was flushed, and goes with the last network.
    said("nft flush ruleset");
    said(&both(DOCKER));
    house.table.ensure(&[rules()]).unwrap();
    house.publish();
    beside(&house.table).unwrap();
    house.works();
    leave(&house.table).unwrap();
    house.table.remove().unwrap();
    assert!(!said("nft list ruleset").contains("dhow"));
}

#[test]
fn ufws_routes_let_pass_by_one_rule() {
    let of = |tables: &str, user: &str| -> String {
        let rules = UFW.replace("USER", user);
        let lines = rules.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.flat_map(|line| [tables, " ", line, "\n"]).collect()
    };
    let (four, six) = (of("iptables", "ufw-user-forward"), of("ip6tables", "ufw6-user-forward"));
    let house = House::beside(&(four + &six));
    let before = said("iptables -S; ip6tables -S");
    house.wires.client.reaches_not("203.0.113.1:8080");
    beside(&house.table).unwrap();
    house.works();
    let now = said("iptables -S; ip6tables -S");
    assert_eq!(now.matches("dhow:").count(), 2, "{now}");
    assert!(
        now.contains("-A ufw-user-forward -m mark") && now.contains("-A ufw6-user-forward -m mark")
    );
    leave(&house.table).unwrap();
    assert_eq!(said("iptables -S; ip6tables -S"), before);
}

#[test]
fn firewallds_last_word_comes_after_ours() {
    let house = House::beside(FIREWALLD);
    let before = others();
    house.inside.reaches_not("203.0.113.9:7");
    beside(&house.table).unwrap();
    house.works();
    let rule = "\t\tmeta mark & 0x40000000 == 0x40000000 counter accept comment \"dhow: what its own table accepted\"\n";
    let now = others();
    assert!(now.contains(&format!("{rule}\t\treject with icmpx")), "{now}");
    assert_eq!(now.replace(rule, ""), before);
    // A reload of theirs is the end of the rule, until the next container or 'network reload'.
    said("nft delete table inet firewalld");
    said(FIREWALLD);
    house.inside.reaches_not("203.0.113.9:7");
    beside(&house.table).unwrap();
    house.works();
    leave(&house.table).unwrap();
    assert_eq!(others(), before);
}

#[test]
fn an_administrators_own_table_that_drops() {
    let house = House::beside(ADMIN);
    let before = others();
    house.wires.client.reaches_not("[2001:db8::1]:8080");
    beside(&house.table).unwrap();
    house.works();
    assert_eq!(others().matches("dhow:").count(), 1);
    // Another world's networks need it still.
    let world = Table::named("dhow-12345678").unwrap();
    world.ensure(&[]).unwrap();
    leave(&house.table).unwrap();
    assert_eq!(others().matches("dhow:").count(), 1);
    world.remove().unwrap();
    leave(&house.table).unwrap();
    assert_eq!(others(), before);
}

#[test]
fn who_drops_nothing_is_left_alone_and_nothing_is_marked() {
    let open = both("-A FORWARD -p 47 -j DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER");
    let house = House::beside(&open);
    let before = others();
    beside(&house.table).unwrap();
    house.works();
    assert_eq!(others(), before);
    assert!(!said("nft list set inet dhow beside").contains("elements"));
}

#[test]
fn a_bridge_that_leads_out_is_no_engines() {
    let wires = Wires::new();
    wires.bridge("br0", &["192.0.2.1/24"]);
    wires.bridge("docker0", &["172.30.0.1/24"]);
    assert!(uplink::bridges().unwrap().is_empty());
    said("ip route add default via 192.0.2.9");
    assert_eq!(uplink::bridges().unwrap(), ["br0".to_owned()].into());
}

#[test]
fn a_bridge_with_a_real_port_leads_out_whatever_else_is_in_it() {
    super::alone();
    said(
        "ip link add br0 type bridge; ip link add docker0 type bridge
         ip link add dhow0 type bridge; ip link set dhow0 alias 'dhow network x'
         for at in br0 docker0 dhow0; do
             ip link add $at-v type veth peer name $at-w; ip link set $at-v master $at
         done
         ip link add real link br0-w type macvlan mode passthru",
    );
    assert!(uplink::bridges().unwrap().is_empty());
    said("ip link set real master br0");
    assert_eq!(uplink::bridges().unwrap(), ["br0".to_owned()].into());
}

/// By hand: `cargo test -p dhow --lib -- --ignored --nocapture what_looking_for_uplinks_costs`
#[test]
#[ignore = "prints figures"]
fn what_looking_for_uplinks_costs() {
    super::alone();
    said(
        "ip link add dhow0 type bridge; ip link set dhow0 alias 'dhow network x' up
         ip addr add 10.1.0.1/16 dev dhow0; ip link add br0 type bridge",
    );
    let mut from = 1;
    for to in [5, 250] {
        let one = "ip link add v$n type veth peer name w$n; ip link set v$n master dhow0 up";
        said(&format!("for n in $(seq {from} {to}); do {one}; done"));
        from = to + 1;
        let mut took: Vec<u128> = (0..50)
            .map(|_| {
                let begun = std::time::Instant::now();
                assert!(uplink::bridges().unwrap().is_empty());
                begun.elapsed().as_micros()
            })
            .collect();
        took.sort_unstable();
        println!("{to} pairs: {} us", took[25]);
    }
}
