//! URLs that are read, and those that are refused without showing a password.

use super::*;
use crate::config::{Parts, Place};

#[test]
fn the_text_form_says_what_the_url_said() {
    for (url, text) in [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("valkey://h:1/", "redis://h:1/0"),
        ("REDIS://[::1]:7/12", "redis://[::1]:7/12"),
        ("redis://app:secret@h/3", "redis://h:6379/3"),
        ("redis://h?db=3", "redis://h:6379/3"),
        ("redis://h/3?family=0", "redis://h:6379/3"),
        ("rediss://h?family=6&lazyConnect=true&db=3", "rediss://h:6379/3"),
        ("rediss://h", "rediss://h:6379/0"),
        ("valkeys://h:1/2", "rediss://h:1/2"),
        ("unix:///run/my%20redis.sock", "unix:///run/my redis.sock?db=0"),
        ("redis+unix://u:p@/s?db=2", "unix:///s?db=2"),
        ("valkey+unix:///s?db=2&user=u&pass=p", "unix:///s?db=2"),
        ("redis+sentinel://a,[::1]:7/m%2Fy", "redis+sentinel://a:26379,[::1]:7/m/y/0"),
        ("rediss+sentinel://u:p@a/m/4", "rediss+sentinel://a:26379/m/4"),
        ("redis+cluster://:p@a,b:7", "redis+cluster://a:6379,b:7"),
        ("valkeys+cluster://a", "rediss+cluster://a:6379"),
        ("memory:", "memory:"),
        ("Memory://tests", "memory:tests"),
    ] {
        assert_eq!(Place::read(Some(url), Parts::default()).unwrap().to_string(), text);
    }
}

#[test]
fn credentials_are_unescaped_wherever_they_stand() {
    let read = |url| {
        let said = parse(url).unwrap();
        (said.username.unwrap_or_default(), said.password.map(|p| p.reveal().to_owned()).unwrap_or_default())
    };
    let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
    assert_eq!(read("redis://us%3Aer:p%40ss:%2F%C3%A9@h"), pair("us:er", "p@ss:/é"));
    assert_eq!(read("redis://:p@ss@h"), pair("", "p@ss"));
    assert_eq!(read("unix:///s?user=a%26b&pass=%3D"), pair("a&b", "="));
    assert_eq!(read("unix://app@/s?password=p"), pair("app", "p"));
    assert_eq!(read("redis+sentinel://a:b@h,i/m"), pair("a", "b"));
}

#[test]
fn a_bad_url_is_refused_in_words_that_name_the_part_and_no_password() {
    for (url, part) in [
        ("user:hunter2@h", "scheme"),
        ("http://:hunter2@h", "http"),
        ("redis+://:hunter2@h", "redis+"),
        ("rediss+unix:///hunter2", "rediss+unix"),
        (":hunter2@redis://h", "scheme"),
        ("redis://", "host"),
        ("redis://:hunter2@", "host"),
        ("redis://:hunter2@:1", "host"),
        ("redis://:hunter2@h:0", "port"),
        ("redis://:hunter2@h:70000", "port"),
        ("redis://user:hunter2", "port"),
        ("redis://hunter2@h", "password"),
        ("redis://:hunter2%@h", "%25"),
        ("redis://:hunter2%zz@h", "%25"),
        ("redis://:hunter2%ff@h", "%25"),
        ("redis://:hun/hunter2@h", "%2F"),
        ("redis://:hunter2#x@h", "%23"),
        ("redis://:hunter2@h#x", "'#'"),
        ("redis://:hunter2@h/x", "database"),
        ("redis://:hunter2@h/4294967295", "database"),
        ("redis://:hunter2@h/1?tls=1", "parameter \"tls\""),
        ("redis://:hunter2@h/1?family=hunter2", "parameter \"family\""),
        ("redis://:hunter2@h/1?hunter2", "parameter"),
        ("redis://:hunter2@h/1?db=2", "twice"),
        ("redis://:hunter2@h?password=hunter2", "twice"),
        ("unix:///s?pass=hunter2@", "%40"),
        ("unix://hunter2/s", "absolute"),
        ("unix://", "absolute"),
        ("redis://:hunter2@::1", "brackets"),
        ("redis://:hunter2@[::1", "']'"),
        ("redis://:hunter2@[::1]x", "']'"),
        ("redis+sentinel://:hunter2@h", "master"),
        ("redis+sentinel://:hunter2@h,/m", "host"),
        ("redis+cluster://:hunter2@h/1", "0"),
    ] {
        let message = Place::read(Some(url), Parts::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{url}: {message}");
        assert!(!message.contains("hunter2"), "{url}: {message}");
    }
}
