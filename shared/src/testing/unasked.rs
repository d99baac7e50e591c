//! What a scripted broker is never asked.

/// Writes methods of a [`Broker`](crate::broker::Broker) that a test's code must not call: each
/// panics with its name. Only methods that every broker must have are known here.
///
/// ```text
/// impl Broker for Script {
///     fn last<'a>(…) -> … { … }
///
///     quadrille::unasked!(publish_once publish publish_batch pull settle last_of_many);
///     quadrille::unasked!(inspect serve request flush);
/// }
/// ```
#[macro_export]
macro_rules! unasked {
    ($first:ident $($more:ident)+) => {
        $crate::unasked!($first);
        $crate::unasked!($($more)+);
    };
    (publish_once) => {
        $crate::unasked!(@ publish_once<'a>(_: &'a $crate::Slot, _: ::bytes::Bytes)
            -> $crate::broker::Published);
    };
    (publish) => {
        $crate::unasked!(@ publish<'a>(_: &'a str, _: ::bytes::Bytes)
            -> $crate::broker::Published);
    };
    (publish_batch) => {
        $crate::unasked!(@ publish_batch<'a>(_: Vec<$crate::broker::BatchMessage>)
            -> $crate::broker::Published);
    };
    (pull) => {
        $crate::unasked!(@ pull<'a>(_: &'a str, _: &'a str)
            -> Result<Box<dyn $crate::broker::Pull>, $crate::broker::Unavailable>);
    };
    (settle) => {
        $crate::unasked!(@ settle<'a>(_: &'a $crate::broker::Receipt, _: $crate::broker::Settle)
            -> ());
    };
    (last) => {
        $crate::unasked!(@ last<'a>(_: &'a str, _: &'a str)
            -> Result<Option<$crate::broker::Stored>, $crate::broker::Unavailable>);
    };
    (last_of_many) => {
        $crate::unasked!(@ last_of_many<'a>(_: &'a str, _: Vec<String>)
            -> Result<Vec<$crate::broker::Stored>, $crate::broker::Unavailable>);
    };
    (inspect) => {
        $crate::unasked!(@ inspect<'a>(_: &'static $crate::Flow, _: &'a str)
            -> Result<$crate::broker::Inspection, $crate::broker::Unavailable>);
    };
    (serve) => {
        $crate::unasked!(@ serve<'a>(
            _: &'a str, _: &'a str, _: &'a [&'a str], _: $crate::broker::Answers
        ) -> Result<
            ::tokio::sync::mpsc::Receiver<$crate::broker::Request>,
            $crate::broker::Unavailable,
        >);
    };
    (request) => {
        $crate::unasked!(@ request<'a>(_: &'a str, _: ::bytes::Bytes)
            -> Result<
                Result<::bytes::Bytes, $crate::broker::ServiceError>,
                $crate::broker::Unavailable,
            >);
    };
    (flush) => {
        $crate::unasked!(@ flush<'a>() -> ());
    };
    (@ $name:ident<'a>($($given:tt)*) -> $answer:ty) => {
        fn $name<'a>(&'a self, $($given)*) -> ::futures::future::BoxFuture<'a, $answer> {
            panic!(concat!("the test does not expect `", stringify!($name), "`"))
        }
    };
}
