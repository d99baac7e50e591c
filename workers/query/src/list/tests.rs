//! What a list is of, and what its statements cost.

use super::*;
use schemas::order_fulfilment::FLOW;

use crate::orders::ORDERS;

fn empty() -> Connection {
    let rows = Connection::open_in_memory().unwrap();
    rows.execute_batch("CREATE TABLE events (event TEXT)").unwrap();
    rows.execute_batch(&ORDERS.model.tables.concat()).unwrap();
    rows.execute_batch(&ORDERS.model.indexes.concat()).unwrap();
    rows
}

fn list(query: &str) -> Result<List, Problem> {
    list_among(query, None)
}

fn list_among(query: &str, among: Option<&BTreeSet<&str>>) -> Result<List, Problem> {
    let question = Question::from_query(query, &parameters(&ORDERS))?;
    List::of(&FLOW, &ORDERS, &question, among, Timestamp::UNIX_EPOCH)
}

/// Each step of the plan of what this list runs, for its first page and a later one.
fn plans(rows: &Connection, list: &mut List) -> Vec<String> {
    let mut plans = Vec::new();
    for after in [None, Some(Cursor { order: 'n', at: 5, opened: 5 })] {
        list.after = after;
        let begins: Vec<_> = match list.among {
            None => (0..list.filters.len()).map(Some).collect(),
            Some(_) => Vec::new(),
        };
        let begins = if begins.is_empty() { vec![None] } else { begins };
        let both = begins.iter().flat_map(|begin| [list.page(*begin), list.count(*begin)]);
        for Statement { text: sql, values } in both {
            let mut plan = rows.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let step = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
            let plan = plan.query_map(params_from_iter(values), step).unwrap();
            plans.extend(plan.map(|step| format!("{}: {sql}", step.unwrap())));
        }
    }
    plans
}

#[test]
fn no_list_scans_a_table_or_sorts() {
    let rows = empty();
    let filters = [
        "",
        "state=open",
        "waits_for=ship-order",
        "reason=x",
        "refused_at=payment",
        "customer=c",
        "sku=s",
        "country=DE",
        "since=2026-11-25T12:00:00Z",
        "older_than=1h",
        "state=open&reason=x",
        "customer=c&sku=s",
        "state=open&customer=c",
        "waits_for=ship-order&older_than=1h",
    ];
    let orders = ["newest", "oldest"]
        .into_iter()
        .flat_map(|order| filters.map(|filter| format!("{filter}&order={order}")));
    let worst = ["", "state=open", "waits_for=ship-order"].map(|f| format!("{f}&order=worst"));
    for query in orders.chain(worst) {
        let plans = plans(&rows, &mut list(&query).unwrap());
        let bad = |step: &&String| {
            let scans = step.starts_with("SCAN") && !step.contains("INDEX");
            (scans && !step.contains("SCAN (")) || step.contains("TEMP B-TREE")
        };
        assert_eq!(plans.iter().find(bad), None, "{query}");
    }
}

/// What they are sorted by is in no index, so they must be few: `listed` sees to that.
#[test]
fn a_list_of_some_sagas_looks_at_those_alone() {
    let rows = empty();
    let among = BTreeSet::from(["A1", "A2"]);
    for filter in ["", "state=parked", "state=open&customer=c", "older_than=1h&reason=x"] {
        let plans = plans(&rows, &mut list_among(filter, Some(&among)).unwrap());
        let by_key =
            |step: &&String| step.starts_with("SEARCH s USING") && step.contains("(saga=?)");
        assert_eq!(plans.iter().filter(by_key).count(), 4, "{filter}: {plans:#?}");
        let bad =
            |step: &&String| step.starts_with("SCAN s") || step.contains("B-TREE FOR DISTINCT");
        assert_eq!(plans.iter().find(bad), None, "{filter}: {plans:#?}");
    }
}

#[test]
fn the_worst_first_has_no_filter_that_no_index_has() {
    let problem = list("order=worst&customer=c").unwrap_err();
    assert!(problem.detail.contains("customer"), "{}", problem.detail);
    assert!(list("order=best").is_err());
    assert!(list("after=bi4xLjI&order=oldest").is_err());
}

#[test]
fn those_that_wait_for_a_reason_come_worst_first_where_an_index_has_that() {
    let order = |query| list(query).unwrap().order;
    assert_eq!(order("why=retrying"), Order::Worst);
    assert_eq!(order("why=retrying&state=open&waits_for=ship-order"), Order::Worst);
    assert_eq!(order("why=retrying&customer=c"), Order::Newest);
    assert_eq!(order("state=parked"), Order::Worst);
    assert_eq!(order("why=retrying&older_than=1h"), Order::Newest);
    assert_eq!(order("why=retrying&order=oldest"), Order::Oldest);
    assert_eq!(order("state=open"), Order::Newest);
}

#[test]
fn a_country_is_read_in_either_case_and_refused_where_it_is_none() {
    let filters = |query| list(query).map(|list| list.filters);
    assert_eq!(filters("country=de"), filters("country=DE"));
    let problem = list("country=Germany").unwrap_err();
    assert_eq!(problem.status, 400);
    assert!(problem.detail.contains("such as DE"), "{}", problem.detail);
}

#[test]
fn a_count_ends_somewhere() {
    assert_eq!(counted(9_999)["text"], "9,999");
    assert_eq!(counted(10_000)["text"], "10,000");
    assert_eq!(counted(10_001)["text"], "10,000+");
}
