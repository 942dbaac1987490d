//! Pages of lists: sorted, searched, and continued by a cursor that says after which item.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::problem::Problem;

/// Items per page where nobody says otherwise, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1_000;

/// The longest text that is searched for.
const SEARCH_BYTES_MAX: usize = 200;

/// Which page of which list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct PageQuery {
    /// Where the last page ended (`next_cursor`).
    pub cursor: Option<String>,
    /// Items per page.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    /// Only items whose id or name contains this text, in any case.
    #[param(max_length = 200)]
    pub search: Option<String>,
}

/// What an item is sorted by: a count, largest first, or nothing; then its name.
pub type SortKey = (Option<i64>, String);

#[derive(Serialize, Deserialize)]
struct Cursor(Option<i64>, String);

impl PageQuery {
    /// Whether an item with these texts is searched for.
    pub fn matches(&self, texts: &[Option<&str>]) -> bool {
        let Some(search) = self.search.as_deref().filter(|search| !search.is_empty()) else { return true };
        let search = search.to_lowercase();
        texts.iter().flatten().any(|text| text.to_lowercase().contains(&search))
    }

    /// Sorts items, and takes the page. Returns it with the cursor of the next one.
    ///
    /// # Errors
    /// [`Problem::invalid`] for a limit or a cursor that is none.
    pub fn take<T>(&self, mut items: Vec<(SortKey, T)>) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit is {limit}; it must lie between 1 and {LIMIT_MAX}")));
        }
        if self.search.as_ref().is_some_and(|search| search.len() > SEARCH_BYTES_MAX) {
            return Err(Problem::invalid(format!("search is longer than {SEARCH_BYTES_MAX} bytes")));
        }
        let after = self.cursor.as_deref().map(read_cursor).transpose()?;
        let order = |(count, name): &SortKey| (std::cmp::Reverse(*count), name.clone());
        items.sort_by_cached_key(|(key, _)| order(key));
        let from = after.map_or(0, |after| items.partition_point(|(key, _)| order(key) <= order(&after)));
        let has_more = items.len() > from + limit;
        let page: Vec<(SortKey, T)> = items.into_iter().skip(from).take(limit).collect();
        let next = page.last().filter(|_| has_more).map(|(key, _)| write_cursor(key));
        Ok((page.into_iter().map(|(_, item)| item).collect(), next))
    }
}

fn write_cursor((count, name): &SortKey) -> String {
    let text = serde_json::to_vec(&Cursor(*count, name.clone())).expect("a cursor is a number and a text");
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn read_cursor(text: &str) -> Result<SortKey, Problem> {
    let cursor = BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Cursor(count, name) = cursor.ok_or_else(|| Problem::invalid("cursor is not one that was given out"))?;
    Ok((count, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let items = || (0..10).map(|n| ((Some(i64::from(n % 3)), format!("{n}")), n)).collect::<Vec<_>>();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let query = PageQuery { cursor, limit: Some(3), search: None };
            let (page, next) = query.take(items()).expect("a page");
            seen.extend(page);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [2, 5, 8, 1, 4, 7, 0, 3, 6, 9]);
        let wrong = |query: PageQuery| query.take(items()).expect_err("it is wrong").status().as_u16();
        assert_eq!(wrong(PageQuery { limit: Some(0), ..PageQuery::default() }), 400);
        assert_eq!(wrong(PageQuery { cursor: Some("x".to_owned()), ..PageQuery::default() }), 400);
    }

    #[test]
    fn items_are_searched_by_id_and_name() {
        let query = PageQuery { search: Some("Sal".to_owned()), ..PageQuery::default() };
        assert!(query.matches(&[Some("ws-1"), Some("Team Sales")]) && query.matches(&[Some("sales"), None]));
        assert!(!query.matches(&[Some("law"), None]) && PageQuery::default().matches(&[None]));
    }
}
