//! Pages of lists: sorted, searched, and continued by a cursor that says after which item.

use std::{cmp::Reverse, collections::BTreeMap};

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

/// What an item is sorted by: a count, largest first, or nothing; then its name, of one or several parts.
pub type SortKey = (Option<i64>, String);

/// A name of several parts, which no other parts have.
pub fn joined(parts: &[&str]) -> String {
    let escaped = parts.iter().map(|part| part.replace('\u{1}', "\u{1}\u{2}"));
    escaped.collect::<Vec<_>>().join("\u{1}\u{1}")
}

#[derive(Serialize, Deserialize)]
struct Cursor(Option<i64>, String);

impl PageQuery {
    /// Whether an item with these texts is searched for.
    pub fn matches(&self, texts: &[Option<&str>]) -> bool {
        let Some(search) = self.search.as_deref().filter(|search| !search.is_empty()) else { return true };
        let search = search.to_lowercase();
        texts.iter().flatten().any(|text| text.to_lowercase().contains(&search))
    }

    /// Puts the page together of what `offers` offers, in whatever order. Returns it with the cursor of the next one. Lists
    /// may be long: the walk through them holds up no other request.
    ///
    /// # Errors
    /// [`Problem::invalid`] for a limit or a cursor that is none; and what `offers` says.
    pub fn choose<T>(
        &self,
        offers: impl FnOnce(&mut Page<T>) -> Result<(), Problem>,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit is {limit}; it must lie between 1 and {LIMIT_MAX}")));
        }
        if self.search.as_ref().is_some_and(|search| search.len() > SEARCH_BYTES_MAX) {
            return Err(Problem::invalid(format!("search is longer than {SEARCH_BYTES_MAX} bytes")));
        }
        let after = self.cursor.as_deref().map(read_cursor).transpose()?.map(order);
        let mut page = Page { limit, after, chosen: BTreeMap::new(), has_more: false };
        tokio::task::block_in_place(|| offers(&mut page))?;
        let last = page.chosen.last_key_value().filter(|_| page.has_more);
        let next = last.map(|((count, name), _)| write_cursor(&(count.0, name.clone())));
        Ok((page.chosen.into_values().collect(), next))
    }
}

/// What items are shown by: the largest count first, then the name.
type Order = (Reverse<Option<i64>>, String);

fn order((count, name): SortKey) -> Order {
    (Reverse(count), name)
}

/// A page that is being put together. It holds no more than it will show, however much it is offered.
pub struct Page<T> {
    limit: usize,
    after: Option<Order>,
    chosen: BTreeMap<Order, T>,
    has_more: bool,
}

impl<T> Page<T> {
    fn is_full(&self) -> bool {
        self.chosen.len() == self.limit
    }

    /// Whether there are items behind this page. Where they are offered in their order, nothing that follows is shown.
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether an item with this count may come to be shown, whatever its name. Most of a long list may not, and then nobody
    /// has to make its name. What is searched for is never passed over: only matching items tell whether there are more.
    pub fn may_show(&mut self, count: Option<i64>, query: &PageQuery) -> bool {
        if query.search.as_deref().is_some_and(|search| !search.is_empty()) {
            return true;
        }
        let count = Reverse(count);
        if self.after.as_ref().is_some_and(|(after, _)| count < *after) {
            return false;
        }
        let is_behind = self.is_full() && self.chosen.last_key_value().is_some_and(|((last, _), _)| count > *last);
        self.has_more |= is_behind;
        !is_behind
    }

    /// Offers an item, which is made only if it is to be shown as far as is known. No two have the same key.
    pub fn offer(&mut self, key: SortKey, item: impl FnOnce() -> T) {
        let order = order(key);
        if self.after.as_ref().is_some_and(|after| order <= *after) {
            return;
        }
        if self.is_full() && self.chosen.last_key_value().is_some_and(|(last, _)| order > *last) {
            self.has_more = true;
            return;
        }
        self.chosen.insert(order, item());
        if self.chosen.len() > self.limit {
            self.has_more = true;
            self.chosen.pop_last();
        }
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

    /// What is on all pages of three, one after the other.
    fn all_pages(offers: impl Fn(&mut Page<i64>, &PageQuery)) -> Vec<i64> {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let query = PageQuery { cursor, limit: Some(3), search: None };
            let offered = |page: &mut Page<i64>| {
                offers(page, &query);
                Ok(())
            };
            let (page, next) = query.choose(offered).expect("a page");
            seen.extend(page);
            cursor = next;
            if cursor.is_none() {
                return seen;
            }
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let expected = [2, 5, 8, 1, 4, 7, 0, 3, 6, 9];
        let offer = |page: &mut Page<i64>, n: i64| page.offer((Some(n % 3), format!("{n}")), || n);
        assert_eq!(all_pages(|page, _| (0..10).for_each(|n| offer(page, n))), expected);
        // What is passed over by its count alone would not have been shown.
        let of_those_that_may = |page: &mut Page<i64>, query: &PageQuery| {
            for n in 0..10 {
                if page.may_show(Some(n % 3), query) {
                    offer(page, n);
                }
            }
        };
        assert_eq!(all_pages(of_those_that_may), expected);
        // In their order, nobody has to go on once there are more.
        let in_order = |page: &mut Page<i64>, _: &PageQuery| {
            for n in expected {
                if page.has_more() {
                    break;
                }
                offer(page, n);
            }
        };
        assert_eq!(all_pages(in_order), expected);
    }

    #[test]
    fn a_page_or_a_cursor_that_is_none_is_refused() {
        let wrong =
            |query: PageQuery| query.choose(|_: &mut Page<i64>| Ok(())).expect_err("it is wrong").status().as_u16();
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
