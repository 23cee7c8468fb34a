//! What `system df` measures.

use std::collections::{BTreeMap, HashMap, HashSet};

use dhow_image::build::cache::{self, Entry};
use dhow_image::digest::ChainId;
use dhow_image::store::{Store, Stored};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::command::container::row::{Names, row};
use crate::error::Result;
use crate::host::Host;
use crate::making::of_image;
use crate::output::human;
use crate::store::{Volume, size_of};

/// One image, container or volume.
pub struct Item {
    /// Its fields, as lists show them.
    pub row: Map<String, Value>,
    /// Bytes that are its own.
    pub size: u64,
    /// Whether something uses it.
    pub used: bool,
}

/// All that takes space.
pub struct Usage {
    /// Newest first.
    pub images: Vec<Item>,
    /// Newest first.
    pub containers: Vec<Item>,
    /// By name.
    pub volumes: Vec<Item>,
    /// Bytes of all layers, each counted once.
    pub layers: u64,
    /// Bytes of layers that no container's image has.
    pub layers_idle: u64,
    /// What earlier builds have left, used last first.
    pub cache: Vec<Entry>,
}

/// Measures; `whole`: ids aren't cut.
pub fn measure(host: &Host, now: Timestamp, whole: bool) -> Result<Usage> {
    let store = host.images()?;
    let images = store.images().map_err(of_image)?;
    let names = Names::of(host);
    let (mut of_images, mut of_volumes) = (HashMap::new(), HashMap::new());
    let mut containers = Vec::new();
    for mut found in host.containers.list()? {
        found.state = crate::monitor::state(host, &found.record)?;
        let record = &found.record;
        *of_images.entry(record.image.id.clone()).or_insert(0_usize) += 1;
        for mount in record.mounts.iter().filter(|m| m.kind == "volume") {
            *of_volumes.entry(mount.name.clone()).or_insert(0_usize) += 1;
        }
        let size = size_of(&host.paths.container(&record.id).join("upper"));
        containers.push(Item {
            row: row(&found, now, &names, whole, human::short_size(size)),
            size,
            used: found.state.status.is_alive(),
        });
    }
    let layers = Layers::of(store, &images, &of_images)?;
    let shown = images.iter().map(|image| {
        let count = of_images.get(&image.id().to_string()).copied().unwrap_or(0);
        layers.image(store, image, count, now, whole)
    });
    let volumes = host.volumes.list().into_iter().map(|volume| {
        let links = of_volumes.get(&volume.name).copied().unwrap_or(0);
        of_volume(&volume, links)
    });
    Ok(Usage {
        images: shown.collect::<Result<_>>()?,
        containers,
        volumes: volumes.collect(),
        cache: cache::usage(store).map_err(of_image)?,
        layers: layers.sizes.values().sum(),
        layers_idle: layers
            .sizes
            .iter()
            .filter(|(c, _)| !layers.used.contains(c))
            .map(|(_, n)| n)
            .sum(),
    })
}

/// Which layers there are, how large, of how many images, and which are in use.
struct Layers {
    sizes: BTreeMap<ChainId, u64>,
    images: HashMap<ChainId, usize>,
    used: HashSet<ChainId>,
}

impl Layers {
    fn of(store: &Store, images: &[Stored], counts: &HashMap<String, usize>) -> Result<Self> {
        let mut all = Self { sizes: BTreeMap::new(), images: HashMap::new(), used: HashSet::new() };
        for image in images {
            let used = counts.contains_key(&image.id().to_string());
            let chains = image.chain_ids(store).map_err(of_image)?;
            let known: u64 = chains.iter().filter_map(|chain| store.layer_size(chain)).sum();
            for (at, chain) in chains.iter().enumerate() {
                // What isn't unpacked counts as its blobs do, at the top.
                let packed =
                    if at + 1 == chains.len() { image.size.saturating_sub(known) } else { 0 };
                let size = store.layer_size(chain).unwrap_or(packed);
                all.sizes.insert(chain.clone(), size);
                *all.images.entry(chain.clone()).or_insert(0) += 1;
                if used {
                    all.used.insert(chain.clone());
                }
            }
        }
        Ok(all)
    }

    /// A row a name, as in `images`.
    fn image(
        &self,
        store: &Store,
        image: &Stored,
        containers: usize,
        now: Timestamp,
        whole: bool,
    ) -> Result<Item> {
        let chains = image.chain_ids(store).map_err(of_image)?;
        let of = |shared: bool| -> u64 {
            let mine =
                chains.iter().filter(|c| (self.images.get(*c).copied().unwrap_or(0) > 1) == shared);
            mine.map(|c| self.sizes.get(c).copied().unwrap_or(0)).sum()
        };
        let (shared, unique) = (of(true), of(false));
        let created = image.created.as_deref().and_then(|text| text.parse().ok());
        let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
        let id = image.id();
        let name = image.names.first();
        let none = || "<none>".to_owned();
        let fields = [
            ("Containers", containers.to_string()),
            ("CreatedAt", human::stamp(created)),
            ("CreatedSince", human::ago(created, now)),
            ("Digest", String::new()),
            ("ID", if whole { id.to_string() } else { id.hex()[..12].to_owned() }),
            ("Repository", name.map_or_else(none, dhow_image::reference::Reference::familiar_name)),
            ("SharedSize", human::size(shared)),
            ("Size", human::short_size(image.size)),
            ("Tag", name.and_then(|n| n.tag()).map_or_else(none, str::to_owned)),
            ("UniqueSize", human::size(unique)),
            ("VirtualSize", human::size(image.size)),
        ];
        let row = fields.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        Ok(Item { row, size: image.size, used: containers > 0 })
    }
}

fn of_volume(volume: &Volume, links: usize) -> Item {
    let size = size_of(&volume.data);
    let labels: Vec<String> = volume.spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let fields = [
        ("Availability", "N/A".to_owned()),
        ("Driver", "local".to_owned()),
        ("Group", "N/A".to_owned()),
        ("Labels", labels.join(",")),
        ("Links", links.to_string()),
        ("Mountpoint", volume.data.display().to_string()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
        ("Size", human::size(size)),
        ("Status", "N/A".to_owned()),
    ];
    let row = fields.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
    Item { row, size, used: links > 0 }
}
