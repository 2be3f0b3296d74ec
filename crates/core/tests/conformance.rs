//! One suite for every store: the same short histories must end in the same way.
//!
//! It waits for no clock and doesn't look into a store. The agreement tests have long histories.

mod common;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/line.rs"]
mod line;
#[path = "conformance/steps.rs"]
mod steps;

use leases::*;
use line::*;

/// Every scenario, once for each store.
macro_rules! for_every_store {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(&concurrency_limit::store::memory::MemoryStore::new()).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $scenario() {
                let server = super::common::server::RedisServer::start(&[]);
                super::$scenario(&super::redis_store(&server)).await;
            })*
        }
    };
}

for_every_store!(
    a_grant_takes_the_smallest_free_slots_and_a_growing_token,
    asking_again_with_the_same_id_changes_nothing,
    who_does_not_wait_is_told_that_it_is_full,
    a_line_has_room_for_so_many,
    a_release_hands_off_to_the_oldest_waiter_by_push,
    a_grant_to_the_callers_own_waiter_is_in_the_reply,
    a_newcomer_never_overtakes,
    priority_comes_before_age,
    a_weight_is_granted_whole_or_not_at_all,
    leaving_tells_a_waiter_from_a_holder,
    renewal_extends_what_is_there_and_counts_who_waits,
    a_name_is_taken_over_with_its_slot,
    a_name_with_another_weight_is_a_mismatch,
    reconciling_answers_each_id,
    a_session_is_told_what_the_group_has_of_it,
    an_old_connection_comes_too_late,
    a_settling_session_is_not_granted_anything_new,
    a_picture_shows_holders_and_waiters,
    a_picture_shows_who_they_are,
    cleaning_an_empty_group_makes_nothing,
    groups_are_listed,
    calls_of_one_batch_are_answered_in_order,
);

fn redis_store(server: &common::server::RedisServer) -> concurrency_limit::store::redis::RedisStore {
    use concurrency_limit::config::Options;
    use concurrency_limit::store::redis::RedisStore;
    RedisStore::new(Options {
        connect_timeout: common::BOUND,
        command_timeout: common::BOUND,
        ..Options::new(server.url(""))
    })
    .expect("a good address")
}
