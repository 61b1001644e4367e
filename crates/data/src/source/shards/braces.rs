//! Braces as a shell expands them: `{000..123}` counts, `{a,b}` lists.

/// More names than this are a slip.
pub(super) const MOST: usize = 1_000_000;

/// A longer text is no path, and a million times its length is memory.
const LONGEST: usize = 4096;

/// All names that `text` stands for, the last brace turning fastest.
pub(super) fn expand(text: &str) -> Result<Vec<String>, String> {
    if text.len() > LONGEST {
        return Err(format!("a path of {} bytes is too long", text.len()));
    }
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, inside) = (&rest[..open], &rest[open + 1..]);
        let close = inside
            .find('}')
            .ok_or_else(|| format!("the `{{` in `{text}` is not closed"))?;
        let choices = choices(&inside[..close])?;
        if names.len().saturating_mul(choices.len()) > MOST {
            return Err(format!("`{text}` stands for more than {MOST} shards"));
        }
        names = names
            .iter()
            .flat_map(|name| {
                choices
                    .iter()
                    .map(move |choice| format!("{name}{before}{choice}"))
            })
            .collect();
        rest = &inside[close + 1..];
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// What stands between two braces.
fn choices(inside: &str) -> Result<Vec<String>, String> {
    if inside.contains('{') {
        return Err(format!("braces inside braces (`{{{inside}`) are not understood"));
    }
    if let Some((first, last)) = inside.split_once("..") {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = if is_number {
                text.parse::<usize>().ok()
            } else {
                None
            };
            number.ok_or_else(|| format!("`{text}` in `{{{inside}}}` is no number"))
        };
        let (from, to) = (number(first)?, number(last)?);
        if to < from || to - from >= MOST {
            return Err(format!(
                "`{{{inside}}}` does not count from a number up to a later one"
            ));
        }
        let width = if first.starts_with('0') { first.len() } else { 0 };
        return Ok((from..=to).map(|n| format!("{n:0width$}")).collect());
    }
    if inside.contains(',') {
        return Ok(inside.split(',').map(str::to_owned).collect());
    }
    Err(format!(
        "`{{{inside}}}` is neither `{{first..last}}` nor `{{a,b}}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn braces_count_with_leading_zeros_and_list() {
        assert_eq!(expand("a").unwrap(), ["a"]);
        assert_eq!(
            expand("{08..11}.tar").unwrap(),
            ["08.tar", "09.tar", "10.tar", "11.tar"]
        );
        assert_eq!(expand("{9..10}").unwrap(), ["9", "10"]);
        assert_eq!(expand("{b,a}-{0..1}").unwrap(), ["b-0", "b-1", "a-0", "a-1"]);
    }

    #[test]
    fn nonsense_is_named() {
        for (text, expected) in [
            ("{0..1", "is not closed"),
            ("{a}", "neither"),
            ("{a..b}", "`a` in `{a..b}` is no number"),
            ("{3..1}", "does not count"),
            ("{0..99999999999}", "does not count"),
            ("{0..9999}{0..9999}", "more than 1000000"),
            ("{a,{b,c}}", "braces inside braces"),
            ("{0..99999999999999999999999}", "is no number"),
            (&"{0..999999}".repeat(400), "too long"),
        ] {
            let message = expand(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
