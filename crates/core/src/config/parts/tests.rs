//! What goes together, what doesn't, and that nobody sees a password.

use super::*;
use crate::config::Secret;
use crate::transport::{ClientTransport, EventSender, TransportLink};

fn refused(url: Option<&str>, parts: Parts) -> &'static str {
    match Place::read(url, parts) {
        Err(Error::Config { option, given, expected }) => {
            assert!(!format!("{given}{expected}").contains("hunter2"), "{given} {expected}");
            option
        }
        other => panic!("{other:?}"),
    }
}

fn text(url: Option<&str>, parts: Parts) -> String {
    Place::read(url, parts).unwrap().to_string()
}

fn some(text: &str) -> Option<String> {
    Some(text.into())
}

#[test]
fn an_option_beats_the_same_part_of_the_url() {
    let parts = Parts { host: some("::1"), db: Some(4), ..Parts::default() };
    assert_eq!(text(Some("redis://h:7/3"), parts), "redis://[::1]:7/4");
    let parts = Parts { username: Some("b".into()), password: Some("q".into()), ..Parts::default() };
    let Place::Server { access, .. } = Place::read(Some("redis://a:p@h"), parts).unwrap() else { panic!() };
    assert_eq!((access.username, access.password), (Some("b".into()), Some("q".into())));
    let parts = Parts { path: some("/b"), ..Parts::default() };
    assert_eq!(text(Some("unix:///a?db=1"), parts), "unix:///b?db=1");
    let sentinel = SentinelParts { password: Some("s".into()), ..SentinelParts::default() };
    let parts = Parts { sentinel: Some(sentinel), ..Parts::default() };
    let Place::Sentinel { sentinels, access, .. } =
        Place::read(Some("rediss+sentinel://:p@h/m"), parts).unwrap()
    else {
        panic!()
    };
    assert_eq!((sentinels.password, access.password), (Some("s".into()), Some("p".into())));
    assert_eq!((sentinels.tls, access.tls), (Some(Tls::default()), Some(Tls::default())));
}

#[test]
fn without_a_url_the_options_say_where() {
    assert_eq!(text(None, Parts::default()), "redis://127.0.0.1:6379/0");
    let tls = Parts { tls: Some(Some(Tls::default())), ..Parts::default() };
    assert_eq!(text(None, tls), "rediss://127.0.0.1:6379/0");
    let cluster = Some(vec!["a".to_owned(), "[::1]:7".to_owned()]);
    assert_eq!(text(None, Parts { cluster, ..Parts::default() }), "redis+cluster://a:6379,[::1]:7");
    let sentinel =
        SentinelParts { name: some("m"), nodes: Some(vec!["a".into()]), ..SentinelParts::default() };
    let parts = Parts { sentinel: Some(sentinel), ..Parts::default() };
    assert_eq!(text(None, parts), "redis+sentinel://a:26379/m/0");
}

struct Somebodys(&'static str);

impl ClientTransport for Somebodys {
    fn address(&self) -> String {
        self.0.into()
    }

    fn is_cluster(&self) -> bool {
        false
    }

    fn open(&self, _: EventSender) -> Box<dyn TransportLink> {
        unreachable!("nothing is opened while options are read")
    }
}

fn client() -> Option<SharedTransport> {
    Some(SharedTransport::new(Somebodys("somebody's")))
}

#[test]
fn a_client_is_a_place_of_its_own() {
    let of = |client| Place::read(None, Parts { client, ..Parts::default() }).unwrap();
    let one = client();
    assert_eq!(of(one.clone()).to_string(), "somebody's");
    assert_eq!(of(one.clone()), of(one.clone()));
    assert_ne!(of(one), of(client()));
    assert_eq!(refused(Some("redis://h"), Parts { client: client(), ..Parts::default() }), "client");
}

#[test]
fn two_kinds_of_place_are_refused_by_the_name_of_the_second() {
    let host = || Parts { host: some("h"), ..Parts::default() };
    let path = || Parts { path: some("/s"), ..Parts::default() };
    assert_eq!(refused(None, Parts { path: some("/s"), ..host() }), "path");
    assert_eq!(refused(None, Parts { cluster: Some(vec!["a".into()]), ..host() }), "cluster");
    assert_eq!(refused(None, Parts { client: client(), ..path() }), "client");
    assert_eq!(refused(Some("redis://:hunter2@h"), path()), "path");
    assert_eq!(refused(Some("unix:///s"), host()), "host");
    assert_eq!(refused(Some("memory:"), host()), "host");
    assert_eq!(refused(Some("redis+cluster://h"), host()), "host");
}

#[test]
fn what_cannot_go_together_is_refused() {
    let password = || Parts { password: Some("hunter2".into()), ..Parts::default() };
    let no_tls = Parts { tls: Some(None), ..Parts::default() };
    let tls = || Parts { tls: Some(Some(Tls::default())), ..Parts::default() };
    assert_eq!(refused(Some("memory:"), password()), "password");
    assert_eq!(refused(None, Parts { client: client(), ..password() }), "password");
    assert_eq!(refused(Some("rediss://h"), no_tls), "tls");
    assert_eq!(refused(Some("unix:///s"), tls()), "tls");
    assert_eq!(refused(Some("redis+cluster://h"), Parts { db: Some(1), ..Parts::default() }), "db");
    assert_eq!(refused(None, Parts { username: Some("u".into()), ..Parts::default() }), "username");
    let sentinel = |name: &str, nodes: Vec<String>| Parts {
        sentinel: Some(SentinelParts { name: some(name), nodes: Some(nodes), ..SentinelParts::default() }),
        ..Parts::default()
    };
    assert_eq!(refused(None, sentinel("", vec!["a".into()])), "sentinel.name");
    assert_eq!(refused(None, sentinel("m", vec![])), "sentinel.nodes");
    assert_eq!(refused(None, sentinel("m", vec!["a:0".into()])), "sentinel.nodes");
    assert_eq!(refused(None, Parts { cluster: Some(vec!["::1".into()]), ..Parts::default() }), "cluster");
}

#[test]
fn no_text_form_shows_a_password() {
    for url in ["redis://u:hunter2@h", "redis+sentinel://:hunter2@h/m", "unix:///s?pass=hunter2"] {
        let place = Place::read(Some(url), Parts::default()).unwrap();
        assert!(!format!("{place} {place:?} {:?}", Place::Url(Secret::new(url))).contains("hunter2"));
    }
    let access = Access { password: Some("hunter2".into()), ..Access::default() };
    assert!(!format!("{access:?}").contains("hunter2"));
}
