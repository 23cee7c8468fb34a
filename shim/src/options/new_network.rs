//! `network create`: what was typed becomes a network's draft, checked whole, in docker's words.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;

use crate::cli::switch;
use crate::error::{Error, Result};
use crate::model::network::{Driver, Pool};
use crate::model::{Network, Subnet};
use crate::options::env::{labels, pairs};
use crate::settings::Daemon;

/// The flags of `network create`.
#[derive(Debug, Default, Args)]
pub struct CreateFlags {
    /// Said of networks that plain containers of a cluster may join; any may join this one
    #[arg(long)]
    pub attachable: bool,
    /// NAME=ADDRESS that containers don't get
    #[arg(long, value_name = "NAME=ADDRESS")]
    pub aux_address: Vec<String>,
    /// bridge, macvlan or ipvlan
    #[arg(short, long, default_value = "bridge")]
    pub driver: String,
    /// The network's own address in a subnet
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub gateway: Vec<String>,
    /// Nothing leaves it, and nothing enters
    #[arg(long)]
    pub internal: bool,
    /// The part of a subnet that containers get addresses from
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    pub ip_range: Vec<String>,
    /// Who gives addresses: default, or null for nobody
    #[arg(long, default_value = "default")]
    pub ipam_driver: String,
    /// Said to that driver
    #[arg(long, value_name = "KEY=VALUE")]
    pub ipam_opt: Vec<String>,
    /// Addresses of IPv4 (--ipv4=false: none)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = switch, help = "Addresses of IPv4 (default \"true\")")]
    pub ipv4: Option<bool>,
    /// Addresses of IPv6
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = switch)]
    pub ipv6: Option<bool>,
    /// Metadata KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// Options of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub opt: Vec<String>,
    /// Its addresses, 10.1.0.0/16
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    pub subnet: Vec<String>,
}

/// What was typed, as a draft without what is chosen for it, and docker's warnings about it.
pub fn draft(name: &str, flags: &CreateFlags, daemon: &Daemon) -> Result<(Network, Vec<String>)> {
    let driver = driver(&flags.driver)?;
    let pools = pools(flags)?;
    let mut options = pairs("-o, --opt", &flags.opt)?;
    for (key, value) in daemon.default_network_opts.get(driver.as_str()).into_iter().flatten() {
        options.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let family = |flag: Option<bool>, key: &str, usual: bool| match (flag, options.get(key)) {
        (Some(on), _) => Ok(on),
        (None, None) => Ok(usual),
        (None, Some(text)) => switch(text)
            .map_err(|_| Error::usage(format!("driver-opt \"{key}\" is not a valid bool"))),
    };
    let enable_ipv4 = family(flags.ipv4, "com.docker.network.enable_ipv4", true)?;
    let enable_ipv6 = family(flags.ipv6, "com.docker.network.enable_ipv6", false)?;
    let network = Network {
        device: options
            .get("parent")
            .filter(|_| driver != Driver::Bridge)
            .cloned()
            .unwrap_or_default(),
        internal: flags.internal,
        attachable: flags.attachable,
        enable_ipv4,
        enable_ipv6,
        ipam_driver: if flags.ipam_driver.is_empty() {
            "default".into()
        } else {
            flags.ipam_driver.clone()
        },
        ipam_options: pairs("--ipam-opt", &flags.ipam_opt)?,
        pools,
        options,
        labels: labels(&[], &flags.label)?,
        ..Network::draft(name, driver)
    };
    check(&network)?;
    let warnings = options_of(&network)?;
    Ok((network, warnings))
}

fn driver(text: &str) -> Result<Driver> {
    match text {
        "bridge" | "" => Ok(Driver::Bridge),
        "macvlan" => Ok(Driver::Macvlan),
        "ipvlan" => Ok(Driver::Ipvlan),
        "host" | "null" => {
            Err(Error::usage(format!("only one instance of \"{text}\" network is allowed")))
        }
        "overlay" => Err(Error::usage(
            "This node is not a swarm manager: overlay networks are Swarm's, and dhow has one machine; \
             use bridge, macvlan or ipvlan",
        )),
        other => Err(Error::not_found(format!(
            "plugin \"{other}\" not found; there are the drivers bridge, macvlan and ipvlan"
        ))),
    }
}

/// Subnets with what belongs to each; the first lines are the client's in docker, then the daemon's.
fn pools(flags: &CreateFlags) -> Result<Vec<Pool>> {
    let texts = &flags.subnet;
    if texts.len() < flags.ip_range.len() || texts.len() < flags.gateway.len() {
        return Err(Error::usage("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut pools: Vec<Pool> = Vec::new();
    for text in texts {
        let subnet: Subnet = text
            .parse()
            .map_err(|_| invalid(&format!("invalid subnet {text}: invalid CIDR block notation")))?;
        if pools.iter().any(|pool| pool.subnet.overlaps(subnet)) {
            return Err(Error::usage("multiple overlapping subnet configuration is not supported"));
        }
        pools.push(Pool::of(subnet, true));
    }
    for text in &flags.ip_range {
        let range: Subnet = text.parse().map_err(Error::usage)?;
        let found = pools.iter_mut().find(|pool| pool.subnet.contains(range.address));
        let found = found.filter(|pool| range.bits >= pool.subnet.bits);
        let pool =
            found.ok_or_else(|| Error::usage(format!("no matching subnet for range {text}")))?;
        if let Some(other) = pool.ip_range {
            return Err(Error::usage(format!(
                "cannot configure multiple ranges ({text}, {other}) on the same subnet ({})",
                pool.subnet
            )));
        }
        pool.ip_range = Some(range);
    }
    for text in &flags.gateway {
        let (pool, address) = place(&mut pools, "gateway", text)?;
        if let Some(other) = pool.gateway {
            return Err(Error::usage(format!(
                "cannot configure multiple gateways ({text}, {other}) for the same subnet ({})",
                pool.subnet
            )));
        }
        pool.gateway = Some(address);
        pool.gateway_typed = true;
    }
    for (name, text) in pairs("--aux-address", &flags.aux_address)? {
        let (pool, address) = place(&mut pools, "aux-address", &text)?;
        pool.aux_addresses.insert(name, address);
    }
    for pool in &pools {
        masked("subnet", pool.subnet)?;
        pool.ip_range.map_or(Ok(()), |range| masked("ip-range", range))?;
    }
    Ok(pools)
}

fn place<'a>(pools: &'a mut [Pool], what: &str, text: &str) -> Result<(&'a mut Pool, IpAddr)> {
    let nowhere = || Error::usage(format!("no matching subnet for {what} {text}"));
    let address: IpAddr = text.parse().map_err(|_| nowhere())?;
    let pool = pools.iter_mut().find(|pool| pool.subnet.contains(address)).ok_or_else(nowhere)?;
    Ok((pool, address))
}

fn masked(what: &str, subnet: Subnet) -> Result<()> {
    let whole = subnet.network();
    if whole == subnet {
        return Ok(());
    }
    Err(invalid(&format!("invalid {what} {subnet}: it should be {whole}")))
}

fn invalid(why: &str) -> Error {
    Error::usage(format!("invalid network config: {why}"))
}

/// What flags say together.
fn check(network: &Network) -> Result<()> {
    if !network.enable_ipv4 && !network.enable_ipv6 && network.driver == Driver::Bridge {
        return Err(Error::usage("IPv4 or IPv6 must be enabled"));
    }
    match network.ipam_driver.as_str() {
        "null" if network.driver == Driver::Bridge || network.enable_ipv4 => {
            let family = if network.enable_ipv4 { "ipv4" } else { "ipv6" };
            return Err(Error::usage(format!(
                "{family} pool is empty: without addresses (--ipam-driver null) there are macvlan and \
                 ipvlan networks with --ipv4=false"
            )));
        }
        "default" | "null" => {}
        other => {
            return Err(Error::not_found(format!(
                "plugin \"{other}\" not found; --ipam-driver is default or null"
            )));
        }
    }
    for pool in &network.pools {
        let ipv6 = pool.subnet.address.is_ipv6();
        // DIFFERS: docker keeps the subnet and gives nobody an address of it.
        if ipv6 && !network.enable_ipv6 || !ipv6 && !network.enable_ipv4 {
            let (family, flag) = if ipv6 { ("IPv6", "--ipv6") } else { ("IPv4", "--ipv4") };
            return Err(Error::usage(format!(
                "subnet {} is of {family}, which is off; add {flag}",
                pool.subnet
            )));
        }
        if ipv6 && network.driver == Driver::Bridge {
            ipv6_subnet(pool.subnet)?;
        }
    }
    let many =
        |ipv6| network.pools.iter().filter(|p| p.subnet.address.is_ipv6() == ipv6).count() > 1;
    if network.driver == Driver::Bridge && (many(false) || many(true)) {
        return Err(Error::conflict("bridge driver doesn't support multiple subnets"));
    }
    Ok(())
}

fn ipv6_subnet(subnet: Subnet) -> Result<()> {
    if subnet.address.is_multicast() {
        return Err(Error::usage(format!("multicast subnet '{subnet}' is not allowed")));
    }
    let local = Subnet { address: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]), bits: 64 };
    if subnet != local && subnet.overlaps(local) {
        return Err(Error::usage(format!(
            "'{subnet}' clashes with the Link-Local prefix 'fe80::/64'"
        )));
    }
    Ok(())
}

/// Checks `-o` by driver; what means nothing to it is a warning, as it stays in `inspect` (docker is
/// silent).
fn options_of(network: &Network) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (key, value) in &network.options {
        let known = match network.driver {
            Driver::Bridge => bridge_option(key, value)?,
            Driver::Macvlan => vlan_option(key, value, "macvlan", &MACVLAN)?,
            _ => vlan_option(key, value, "ipvlan", &IPVLAN)?,
        };
        if !known {
            let driver = network.driver.as_str();
            warnings.push(format!("WARNING: option {key} means nothing to the driver {driver}"));
        }
    }
    if network.driver == Driver::Bridge {
        for key in ["bridge.gateway_mode_ipv4", "bridge.gateway_mode_ipv6"] {
            if network.option(key) == Some("isolated") && !network.internal {
                return Err(Error::usage(
                    "gateway mode 'isolated' can only be used for an internal network; add --internal",
                ));
            }
        }
    }
    Ok(warnings)
}

fn bridge_option(key: &str, value: &str) -> Result<bool> {
    let fault =
        |why: &str| Err(Error::usage(format!("failed to parse {key} value: {value} ({why})")));
    let Some(short) = key.strip_prefix("com.docker.network.") else { return Ok(false) };
    match short {
        "bridge.enable_icc"
        | "bridge.enable_ip_masquerade"
        | "bridge.inhibit_ipv4"
        | "enable_ipv4"
        | "enable_ipv6"
            if switch(value).is_err() =>
        {
            fault(&format!("strconv.ParseBool: parsing \"{value}\": invalid syntax"))
        }
        "bridge.enable_icc"
        | "bridge.enable_ip_masquerade"
        | "bridge.inhibit_ipv4"
        | "enable_ipv4"
        | "enable_ipv6" => Ok(true),
        "driver.mtu" => match value.parse::<i64>() {
            Err(_) => fault(&format!("strconv.Atoi: parsing \"{value}\": invalid syntax")),
            Ok(mtu) if !(0..=65_535).contains(&mtu) => {
                Err(Error::usage(format!("invalid MTU number: {mtu}")))
            }
            Ok(_) => Ok(true),
        },
        "bridge.gateway_mode_ipv4" | "bridge.gateway_mode_ipv6" => match value {
            "nat" | "nat-unprotected" | "routed" | "isolated" => Ok(true),
            _ => fault(&format!("unknown gateway mode {value}")),
        },
        "bridge.host_binding_ipv4" | "host_ipv4" | "host_ipv6" => {
            if value.parse::<IpAddr>().is_err() { fault("nil ip") } else { Ok(true) }
        }
        "bridge.name" | "container_iface_prefix" => {
            let room = if short == "bridge.name" { 15 } else { 12 };
            device_name(value, room).map_or_else(|why| fault(&why), |()| Ok(true))
        }
        _ => Err(Error::usage(format!(
            "option {key} is not one that dhow has; see 'dhow network create --help'"
        ))),
    }
}

fn device_name(name: &str, room: usize) -> Result<(), String> {
    let odd = |b: u8| b == b'/' || b == b':' || b.is_ascii_whitespace() || !b.is_ascii_graphic();
    if name.is_empty() || name == "." || name == ".." || name.bytes().any(odd) {
        return Err("no name of an interface".to_owned());
    }
    if name.len() > room {
        return Err(format!("numerical result out of range: at most {room} bytes"));
    }
    Ok(())
}

/// An option of its driver, its values, and docker's words for others.
type Choice = (&'static str, &'static str, &'static [&'static str], &'static str);

const MACVLAN: [Choice; 1] =
    [("macvlan_mode", "mode", &["", "bridge", "private", "vepa", "passthru"], "'bridge' mode")];
const IPVLAN: [Choice; 2] = [
    ("ipvlan_mode", "mode", &["", "l2", "l3", "l3s"], "'l2' mode"),
    ("ipvlan_flag", "flag", &["", "bridge", "private", "vepa"], "'bridge'"),
];

fn vlan_option(key: &str, value: &str, driver: &str, choices: &[Choice]) -> Result<bool> {
    if let Some((_, what, values, usual)) = choices.iter().find(|choice| choice.0 == key) {
        if values.contains(&value) {
            return Ok(true);
        }
        return Err(Error::usage(format!(
            "requested {driver} {what} '{value}' is not valid, {usual} is the {driver} driver default"
        )));
    }
    match key {
        "parent" if value == "lo" => {
            Err(Error::usage(format!("loopback interface is not a valid {driver} parent link")))
        }
        "parent" => {
            device_name(value, 15).map_err(|why| Error::usage(format!("parent {value}: {why}")))?;
            Ok(true)
        }
        "com.docker.network.driver.mtu" | "com.docker.network.container_iface_prefix" => {
            bridge_option(key, value)
        }
        "com.docker.network.enable_ipv4" | "com.docker.network.enable_ipv6" => Ok(true),
        _ => Ok(false),
    }
}

/// Labels and options, as a row shows them.
pub fn joined(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn create(args: &str) -> Result<(Network, Vec<String>)> {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            flags: CreateFlags,
        }
        let words = args.split_ascii_whitespace();
        let parsed = <Command as clap::Parser>::try_parse_from(["create"].into_iter().chain(words));
        draft("net", &parsed.map_err(|e| Error::usage(e.to_string()))?.flags, &Daemon::default())
    }

    #[test]
    fn subnets_have_what_belongs_to_them() {
        let (net, warnings) = create(
            "--subnet 10.1.0.0/16,fd01::/64 --ipv6 --gateway 10.1.0.9 --gateway fd01::9 \
             --ip-range 10.1.4.0/24 --aux-address a=10.1.4.1 --label x -o com.docker.network.driver.mtu=1400 -o foo=bar",
        )
        .unwrap();
        assert_eq!(net.pools[0].gateway, Some("10.1.0.9".parse().unwrap()));
        assert_eq!(net.pools[0].ip_range, Some("10.1.4.0/24".parse().unwrap()));
        assert_eq!(net.pools[0].aux_addresses["a"], "10.1.4.1".parse::<IpAddr>().unwrap());
        assert_eq!(net.pools[1].gateway, Some("fd01::9".parse().unwrap()));
        assert!(net.enable_ipv6 && net.labels.contains_key("x"));
        assert_eq!(warnings, ["WARNING: option foo means nothing to the driver bridge"]);
        let (vlan, _) =
            create("-d macvlan -o parent=eth0 --subnet 10.1.0.0/24 --subnet 10.2.0.0/24").unwrap();
        assert_eq!((vlan.device.as_str(), vlan.pools.len()), ("eth0", 2));
    }

    #[test]
    fn mistakes_are_told_in_dockers_words() {
        for (args, why) in [
            ("--subnet 10.2.0.1/16", "invalid subnet 10.2.0.1/16: it should be 10.2.0.0/16"),
            ("--subnet x", "invalid subnet x: invalid CIDR block notation"),
            ("--gateway 10.3.0.1", "every ip-range or gateway must have a corresponding subnet"),
            ("--subnet 10.2.0.0/16 --gateway 10.3.0.1", "no matching subnet for gateway 10.3.0.1"),
            (
                "--subnet 10.2.0.0/16 --ip-range 10.0.0.0/8",
                "no matching subnet for range 10.0.0.0/8",
            ),
            ("--subnet 10.2.0.0/16 --ip-range 10.2.0.1/24", "it should be 10.2.0.0/24"),
            ("--subnet 10.2.0.0/16 --aux-address a=x", "no matching subnet for aux-address x"),
            ("--subnet 10.2.0.0/16 --subnet 10.2.1.0/24", "multiple overlapping subnet"),
            (
                "--subnet 10.2.0.0/16 --subnet 10.3.0.0/24",
                "bridge driver doesn't support multiple subnets",
            ),
            ("--ipv4=false", "IPv4 or IPv6 must be enabled"),
            ("--ipv6 --subnet fe80::/80", "clashes with the Link-Local prefix"),
            ("--ipv6 --subnet ff00::/64", "multicast subnet"),
            ("--subnet fd00::/64", "is of IPv6, which is off"),
            ("-d nope", "plugin \"nope\" not found"),
            ("-d host", "only one instance of \"host\" network is allowed"),
            ("-d overlay", "This node is not a swarm manager"),
            ("--ipam-driver null", "ipv4 pool is empty"),
            ("--ipam-driver nope", "plugin \"nope\" not found"),
            (
                "-o com.docker.network.bridge.enable_icc=maybe",
                "strconv.ParseBool: parsing \"maybe\"",
            ),
            ("-o com.docker.network.driver.mtu=-5", "invalid MTU number: -5"),
            ("-o com.docker.network.driver.mtu=x", "strconv.Atoi: parsing \"x\""),
            ("-o com.docker.network.bridge.gateway_mode_ipv4=foo", "unknown gateway mode foo"),
            (
                "-o com.docker.network.bridge.gateway_mode_ipv4=isolated",
                "only be used for an internal",
            ),
            ("-o com.docker.network.bridge.host_binding_ipv4=x", "(nil ip)"),
            (
                "-o com.docker.network.bridge.name=averyverylongname",
                "numerical result out of range",
            ),
            ("-o com.docker.network.bridge.trusted_host_interfaces=a", "not one that dhow has"),
            ("-d macvlan -o parent=lo", "loopback interface is not a valid macvlan parent link"),
            (
                "-d macvlan -o parent=e -o macvlan_mode=foo",
                "requested macvlan mode 'foo' is not valid",
            ),
            (
                "-d ipvlan -o parent=e -o ipvlan_flag=foo",
                "requested ipvlan flag 'foo' is not valid",
            ),
        ] {
            let said = create(args).map(|_| ()).unwrap_err().message;
            assert!(said.contains(why), "{args}: {said}");
        }
    }

    #[test]
    fn daemon_json_gives_options_that_were_not_typed() {
        let mut daemon = Daemon::default();
        let key = "com.docker.network.driver.mtu".to_owned();
        daemon.default_network_opts.insert("bridge".into(), [(key.clone(), "1300".into())].into());
        let flags = CreateFlags { driver: "bridge".into(), ..CreateFlags::default() };
        assert_eq!(draft("x", &flags, &daemon).unwrap().0.option("driver.mtu"), Some("1300"));
        let typed = CreateFlags { opt: vec![format!("{key}=1200")], ..flags };
        assert_eq!(draft("x", &typed, &daemon).unwrap().0.option("driver.mtu"), Some("1200"));
    }

    proptest! {
        #[test]
        fn no_text_panics(
            subnet in "[0-9a-f:./,]{0,24}", range in "[0-9a-f:./]{0,24}",
            gateway in "[0-9a-f:.]{0,24}", aux in "[a-z=0-9.:]{0,16}", opt in "\\PC{0,40}",
        ) {
            let flags = CreateFlags {
                subnet: subnet.split(',').map(str::to_owned).collect(),
                ip_range: vec![range],
                gateway: vec![gateway],
                aux_address: vec![aux],
                opt: vec![opt],
                ..CreateFlags::default()
            };
            let _ = draft("x", &flags, &Daemon::default());
        }
    }
}
