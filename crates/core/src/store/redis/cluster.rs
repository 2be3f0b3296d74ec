//! Groups in a Redis Cluster: links to the members, and each call goes to the member that has its group.
//!
//! It reads no reply and keeps no rule. `map` knows which member has which hash slot, `survey` asks for that, `member`
//! is the link to one server, `router` sends calls and passes on answers, `pages` lists the groups of all members.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::about::Loading;
use super::progress::Progress;
use super::server::Server;
use super::task::Task;
use crate::config::{Access, Address, Node, Options, Place};
use crate::error::Error;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::protocol::Outgoing;
use crate::store::{ConnectError, Connecting, Link, LinkEvent, LinkInfo, Store};
use crate::sync::lock;

mod map;
mod member;
mod pages;
mod router;
mod survey;

use map::Topology;
use member::Opened;
use router::Router;

/// The most members that are remembered.
const MOST_REMEMBERED: usize = 64;

/// Which cluster, and how long to wait for its members.
struct Cluster {
    options: Options,
    /// The members in the options.
    nodes: Vec<Node>,
    access: Access,
    /// Whether and when a member was loading.
    loading: Arc<Loading>,
    progress: Arc<Progress>,
    /// The members in the cluster's last answer; first the one that answered.
    remembered: Mutex<Vec<Node>>,
}

impl Cluster {
    /// One of its members, and who said that it is one; nobody did of those that the options name.
    fn server(&self, at: &Node, announced_by: Option<&Node>) -> Result<Server, Error> {
        let address = Address::Tcp(at.clone());
        let place = Place::Server { address, db: 0, access: self.access.clone() };
        let mut server = Server::new(Options { place, ..self.options.clone() })?.of_cluster(announced_by);
        server.loading = Arc::clone(&self.loading);
        server.progress = Arc::clone(&self.progress);
        Ok(server)
    }

    /// The nodes to ask about the cluster: first those of the options, which surely belong to this cluster (the one
    /// that answered last before the others), then the last known members.
    fn candidates(&self) -> Vec<Node> {
        let remembered = lock(&self.remembered).clone();
        let mut candidates = self.nodes.clone();
        candidates.sort_by_key(|node| remembered.first() != Some(node));
        candidates.extend(remembered.into_iter().filter(|node| !self.nodes.contains(node)));
        candidates
    }

    /// Remembers the members of the cluster, as one of them `told`.
    fn remember(&self, told: &Node, topology: &Topology) {
        let masters = topology.ranges.iter().map(|(_, _, master)| master);
        let mut members = Vec::new();
        for node in [told].into_iter().chain(masters).chain(&topology.replicas) {
            if members.len() < MOST_REMEMBERED && !members.contains(node) {
                members.push(node.clone());
            }
        }
        *lock(&self.remembered) = members;
    }

    /// Who said that there is a member at this address, unless the options do: the address may have to be translated.
    fn announcer(&self, at: &Node) -> Option<Node> {
        let remembered = lock(&self.remembered);
        let is_ours = self.nodes.contains(at);
        (!is_ours).then(|| remembered.first().unwrap_or(&self.nodes[0]).clone())
    }

    /// How long a member's answer is waited for: a little less than the session waits, which would end the whole link.
    fn patience(&self) -> Duration {
        self.options.command_timeout.mul_f64(0.9)
    }
}

/// Groups in a Redis Cluster.
pub struct ClusterStore {
    cluster: Arc<Cluster>,
}

impl ClusterStore {
    /// A store for these options, whose place is a cluster; connects to nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let options = options.resolved()?;
        let Place::Cluster { nodes, access } = options.place.clone() else {
            let given = options.place.to_string();
            return Err(Error::Config { option: "cluster", given, expected: "members of a cluster".into() });
        };
        let (loading, progress, remembered) = (Arc::default(), Arc::default(), Mutex::default());
        let cluster = Cluster { options, nodes, access, loading, progress, remembered };
        // So that invalid options are found here, and not at the first call.
        cluster.nodes.iter().try_for_each(|node| cluster.server(node, None).map(drop))?;
        Ok(Self { cluster: Arc::new(cluster) })
    }
}

impl Store for ClusterStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let cluster = Arc::clone(&self.cluster);
        Box::pin(async move {
            let limit = cluster.options.connect_timeout;
            cluster.progress.begin();
            let opened = tokio::time::timeout(limit, open(cluster, session, events)).await;
            let (link, info) = opened.unwrap_or_else(|_| {
                Err(ConnectError::silent(format!(
                    "cannot connect to the cluster: no answer within {limit:?}"
                )))
            })?;
            Ok((Box::new(link) as Box<dyn Link>, info))
        })
    }

    fn address(&self) -> String {
        self.cluster.options.place.to_string()
    }

    fn waits_for(&self) -> Option<String> {
        self.cluster.progress.waits_for()
    }
}

/// The [`Link`] to a cluster.
struct ClusterLink {
    orders: UnboundedSender<Vec<Outgoing>>,
    _router: Task,
}

impl Link for ClusterLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        // A router that has ended has reported that the link is down.
        let _ = self.orders.send(requests);
    }
}

async fn open(
    cluster: Arc<Cluster>,
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
) -> Result<(ClusterLink, LinkInfo), ConnectError> {
    let asked_at = Moment::now();
    // Half of the time for who has what, half for the first link.
    let half = cluster.options.connect_timeout / 2;
    let topology = survey::ask_all(&cluster, cluster.candidates(), half).await?;
    let (first, opened) = open_any(&cluster, &topology, session, half).await?;
    let info = LinkInfo {
        listens: opened.info.listens,
        // Each member has its own settling time (R30).
        uptime: opened.info.uptime.map(|_| Duration::MAX),
        warnings: opened.info.warnings.clone(),
    };
    let (orders, requests) = unbounded_channel();
    let mut router = Router::new(cluster, session, requests, events);
    router.begin(topology, asked_at, &first, opened);
    Ok((ClusterLink { orders, _router: Task::spawn(router.run()) }, info))
}

/// A link to any master.
async fn open_any(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    session: SessionId,
    limit: Duration,
) -> Result<(Node, Opened), ConnectError> {
    let mut masters: Vec<&Node> = Vec::new();
    for (_, _, master) in &topology.ranges {
        if !masters.contains(&master) {
            masters.push(master);
        }
    }
    masters.sort_by_key(|_| getrandom::u32().unwrap_or_default());
    if masters.is_empty() {
        return Err(ConnectError::refused("the cluster has no masters".into()));
    }
    let masters: Vec<Node> = masters.into_iter().cloned().collect();
    let (at, opened) = member::open_any(cluster, &masters, &topology.told_by, session, limit).await?;
    Ok((masters[at].clone(), opened))
}
