//! What is shown of a hook's URL: its query may hold a credential.

/// Stands for a query that is not shown. No URL that is given may have it in its query.
const HIDDEN: &str = "***";

/// A URL without its query, which may hold a credential: for logs.
pub fn loggable(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// A URL for answers, which are edited and sent back: `?***` stands for its query.
pub fn shown(url: &str) -> String {
    let base = loggable(url);
    if base.len() == url.len() { url.to_owned() } else { format!("{base}?{HIDDEN}") }
}

/// Whether a URL that was given has the mark of a query that is not shown.
pub fn is_hidden(url: &str) -> bool {
    url.get(loggable(url).len()..).is_some_and(|query| query.contains(HIDDEN))
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    #[test]
    fn a_query_is_shown_as_a_mark_that_no_parser_changes() {
        for hidden in ["?token=hush", "?", "#hush", "?a=hush#hush", "?***"] {
            let shown = shown(&format!("https://a.example/***{hidden}"));
            assert_eq!(shown, "https://a.example/***?***");
            assert!(is_hidden(&shown));
            assert_eq!(Url::parse(&shown).expect("a URL").as_str(), shown);
        }
        let whole = "https://a.example/***";
        assert!(shown(whole) == whole && !is_hidden(whole) && !is_hidden("https://a.example/?token=**"));
        assert!(is_hidden("https://a.example/?***&more=1"), "a mark that was edited is no query");
    }
}
