//! What the runtime's protocol relies on, checked on real servers: every case runs on
//! one server and on a cluster of three. A broker that replaces them in tests must pass the same
//! cases, surprises included.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

/// Runs each case of a module on `one_server::…` and `three_servers::…`, and with the feature
/// `containers` on the `official_image::…`.
macro_rules! contract {
    ($($(#[$attribute:meta])* $case:ident),+ $(,)?) => {
        mod one_server {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::under_test::UnderTest::one_server().await).await;
                }
            )+
        }
        mod three_servers {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::under_test::UnderTest::three_servers().await).await;
                }
            )+
        }
        #[cfg(feature = "containers")]
        mod official_image {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::under_test::UnderTest::official_image().await).await;
                }
            )+
        }
    };
}

mod under_test;

mod answers;
mod batches;
mod faults;
mod kv;
mod malformed;
mod provisioning;
mod pulls;
mod reads;
mod services;
mod settling;
mod slots;
