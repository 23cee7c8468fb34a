//! What docker's Go types know of JSON's keys: their order, which of them are maps or lists, and
//! which are left out of JSON when they are empty.

use serde_json::{Map, Value};

/// A field that JSON leaves out, as it is then.
#[derive(Debug, Clone, Copy)]
pub enum Empty {
    /// A nil pointer, list or map.
    Nil,
    /// An empty text.
    Text,
    /// 0
    Zero,
    /// false
    False,
}

impl Empty {
    /// As JSON would have it.
    pub fn value(self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Text => "".into(),
            Self::Zero => 0.into(),
            Self::False => false.into(),
        }
    }
}

/// Keys whose objects are maps: any name may be in them.
#[rustfmt::skip]
const MAPS: [&str; 18] = [
    "Annotations", "ExposedPorts", "Labels", "Networks", "Options", "PortBindings", "Ports",
    "StorageOpt", "Sysctls", "Tmpfs", "Volumes", "Data", "DriverOpts", "__labels", "Attributes",
    "LogOptions", "Containers", "AuxiliaryAddresses",
];

/// Keys that are lists, though they be null.
#[rustfmt::skip]
const LISTS: [&str; 45] = [
    "Aliases", "Args", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps", "BlkioWeightDevice", "CapAdd", "CapDrop", "Cmd", "ConsoleSize", "DNSNames",
    "DeviceCgroupRules", "DeviceRequests", "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint",
    "Env", "ExecIDs", "ExtraHosts", "GroupAdd", "Layers", "Links", "Log", "MaskedPaths", "Mounts",
    "OnBuild", "ReadonlyPaths", "RepoDigests", "RepoTags", "SecondaryIPAddresses",
    "SecondaryIPv6Addresses", "SecurityOpt", "Shell", "Test", "Ulimits", "VolumesFrom", "Capabilities",
    "DeviceIDs", "PortBinding", "Warnings", "IPAMPools",
];

/// Whether null is a nil list.
pub fn is_list(key: &str) -> bool {
    LISTS.contains(&key)
}

/// Whether an object is a map.
pub fn is_map(key: &str) -> bool {
    MAPS.contains(&key)
}

/// The name under which the members of a list or a map look themselves up.
pub fn item(key: &str) -> &'static str {
    match key {
        "Networks" => "Endpoint",
        "Ports" | "PortBindings" => "PortBinding",
        "Mounts" => "Mount",
        "Log" => "HealthLog",
        "Devices" => "Devices",
        "Ulimits" => "Ulimits",
        "DeviceRequests" => "DeviceRequests",
        "Containers" => "NetworkContainer",
        "IPAMPools" => "IPAMPool",
        "" => "",
        _ => "Item",
    }
}

/// Whether a number is a time.Duration.
pub fn is_duration(key: &str) -> bool {
    matches!(key, "Interval" | "Timeout" | "StartPeriod" | "StartInterval")
}

/// What an object is that no key tells apart.
pub fn object<'a>(key: &'a str, map: &Map<String, Value>, typed: bool) -> &'a str {
    match key {
        "" if map.contains_key("RepoTags") && typed => "Image",
        "" if map.contains_key("RepoTags") => "SentImage",
        "" if map.contains_key("Mountpoint") => "Volume",
        "" if map.contains_key("IPAM") => "Network",
        key => key,
    }
}

/// A key's own name where its parent gives it another meaning.
pub fn named<'a>(parent: &str, key: &'a str) -> &'a str {
    match (parent, key) {
        ("LogConfig", "Config") => "LogOptions",
        ("Image", "Config") => "ImageConfig",
        ("SentImage", "Config") => "SentImageConfig",
        ("SentImageConfig", "Healthcheck") => "SentHealthcheck",
        ("IPAM", "Config") => "IPAMPools",
        _ => key,
    }
}

#[rustfmt::skip]
const IMAGE: [&str; 17] = [
    "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion", "Author",
    "Architecture", "Variant", "Os", "Size", "GraphDriver", "RootFS", "Metadata", "Config", "Descriptor",
];

/// docker's order: parent, and its keys.
#[rustfmt::skip]
const ORDER: [(&str, &[&str]); 30] = [
    ("", &[
        "Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath",
        "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel", "ProcessLabel",
        "AppArmorProfile", "ExecIDs", "HostConfig", "GraphDriver", "SizeRw", "SizeRootFs", "Mounts",
        "Config", "NetworkSettings",
    ]),
    ("Image", &IMAGE),
    ("SentImage", &IMAGE),
    ("ImageConfig", &[
        "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
        "StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell",
    ]),
    ("Network", &[
        "Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal",
        "Attachable", "Ingress", "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels", "Peers",
        "Services",
    ]),
    ("IPAM", &["Driver", "Options", "Config"]),
    ("IPAMPool", &["Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"]),
    ("NetworkContainer", &["Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"]),
    ("Actor", &["ID", "Attributes"]),
    ("State", &[
        "Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode",
        "Error", "StartedAt", "FinishedAt", "Health",
    ]),
    ("Health", &["Status", "FailingStreak", "Log"]),
    ("HealthLog", &["Start", "End", "ExitCode", "Output"]),
    ("HostConfig", &[
        "Binds", "ContainerIDFile", "LogConfig", "NetworkMode", "PortBindings", "RestartPolicy",
        "AutoRemove", "VolumeDriver", "VolumesFrom", "ConsoleSize", "Annotations", "CapAdd",
        "CapDrop", "CgroupnsMode", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd",
        "IpcMode", "Cgroup", "Links", "OomScoreAdj", "PidMode", "Privileged", "PublishAllPorts",
        "ReadonlyRootfs", "SecurityOpt", "StorageOpt", "Tmpfs", "UTSMode", "UsernsMode", "ShmSize",
        "Sysctls", "Runtime", "Isolation", "CpuShares", "Memory", "NanoCpus", "CgroupParent",
        "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "CpuPeriod", "CpuQuota",
        "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "Devices",
        "DeviceCgroupRules", "DeviceRequests", "MemoryReservation", "MemorySwap",
        "MemorySwappiness", "OomKillDisable", "PidsLimit", "Ulimits", "CpuCount", "CpuPercent",
        "IOMaximumIOps", "IOMaximumBandwidth", "Mounts", "MaskedPaths", "ReadonlyPaths", "Init",
    ]),
    ("Config", &[
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr",
        "ExposedPorts", "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck",
        "ArgsEscaped", "Image", "Volumes", "WorkingDir", "Entrypoint", "NetworkDisabled",
        "MacAddress", "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
    ]),
    ("Healthcheck", &["Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"]),
    ("GraphDriver", &["Data", "Name"]),
    ("RootFS", &["Type", "Layers"]),
    ("LogConfig", &["Type", "Config"]),
    ("RestartPolicy", &["Name", "MaximumRetryCount"]),
    ("Mount", &[
        "Type", "Name", "Source", "Target", "Destination", "Driver", "Mode", "RW", "Propagation",
        "ReadOnly",
    ]),
    ("NetworkSettings", &[
        "Bridge", "SandboxID", "SandboxKey", "Ports", "HairpinMode", "LinkLocalIPv6Address",
        "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses", "SecondaryIPv6Addresses", "EndpointID",
        "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
        "IPv6Gateway", "MacAddress", "Networks",
    ]),
    ("Endpoint", &[
        "IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority", "NetworkID",
        "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
        "GlobalIPv6PrefixLen", "DNSNames",
    ]),
    ("PortBinding", &["HostIp", "HostPort"]),
    ("Devices", &["PathOnHost", "PathInContainer", "CgroupPermissions"]),
    ("Ulimits", &["Name", "Hard", "Soft"]),
    ("DeviceRequests", &["Driver", "Count", "DeviceIDs", "Capabilities", "Options"]),
    ("BindOptions", &[
        "Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive",
    ]),
    ("VolumeOptions", &["NoCopy", "Labels", "Subpath", "DriverConfig"]),
    ("TmpfsOptions", &["SizeBytes", "Mode", "Options"]),
    ("DriverConfig", &["Name", "Options"]),
];

/// Where a key stands among those of its parent; strangers come last, by name.
pub fn place(parent: &str, key: &str) -> usize {
    let order = ORDER.iter().find(|(name, _)| *name == parent).map_or(&[][..], |(_, keys)| keys);
    order.iter().position(|k| *k == key).unwrap_or(order.len())
}

/// What JSON leaves out below `parent` when it is empty.
pub fn left_out(parent: &str) -> &'static [(&'static str, Empty)] {
    match parent {
        "" => &[("SizeRw", Empty::Nil), ("SizeRootFs", Empty::Nil)],
        "Image" => &[("Variant", Empty::Text)],
        "State" => &[("Health", Empty::Nil)],
        "ImageConfig" => &[
            ("User", Empty::Text),
            ("ExposedPorts", Empty::Nil),
            ("Env", Empty::Nil),
            ("Entrypoint", Empty::Nil),
            ("Cmd", Empty::Nil),
            ("Volumes", Empty::Nil),
            ("WorkingDir", Empty::Text),
            ("Labels", Empty::Nil),
            ("StopSignal", Empty::Text),
            ("Healthcheck", Empty::Nil),
            ("OnBuild", Empty::Nil),
            ("Shell", Empty::Nil),
        ],
        "Config" => &[
            ("ExposedPorts", Empty::Nil),
            ("Healthcheck", Empty::Nil),
            ("ArgsEscaped", Empty::False),
            ("NetworkDisabled", Empty::False),
            ("MacAddress", Empty::Text),
            ("StopSignal", Empty::Text),
            ("StopTimeout", Empty::Nil),
            ("Shell", Empty::Nil),
        ],
        "HostConfig" => &[
            ("Annotations", Empty::Nil),
            ("Init", Empty::Nil),
            ("Mounts", Empty::Nil),
            ("StorageOpt", Empty::Nil),
            ("Sysctls", Empty::Nil),
            ("Tmpfs", Empty::Nil),
        ],
        "Healthcheck" => &[
            ("Test", Empty::Nil),
            ("Interval", Empty::Zero),
            ("Timeout", Empty::Zero),
            ("StartPeriod", Empty::Zero),
            ("StartInterval", Empty::Zero),
            ("Retries", Empty::Zero),
        ],
        "Network" => &[("Peers", Empty::Nil), ("Services", Empty::Nil)],
        "IPAMPool" => &[
            ("Subnet", Empty::Text),
            ("IPRange", Empty::Text),
            ("Gateway", Empty::Text),
            ("AuxiliaryAddresses", Empty::Nil),
        ],
        "Mount" => &[("Name", Empty::Text), ("Source", Empty::Text), ("Driver", Empty::Text)],
        _ => &[],
    }
}
