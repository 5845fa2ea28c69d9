//! Keyword types of category templates ("Template messages", table of parameter types): `thing1` is of type `thing`.
//!
//! WeChat's own rules are not public, so this tells what it is likely to refuse with 47003, not what it will.

/// Why a value does not fit the type that its keyword names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    TooLong {
        chars: usize,
        most: usize,
    },
    /// What the type takes.
    Form(&'static str),
}

/// `None`: it fits, or the keyword names no type that we know (`keyword1`, `first`). Empty values are another matter.
pub fn misfit(keyword: &str, value: &str) -> Option<Misfit> {
    let kind = keyword.trim_end_matches(|c: char| c.is_ascii_digit());
    if kind.len() == keyword.len() || value.is_empty() {
        return None;
    }
    let has_han = value.chars().any(is_han);
    let (most, expected, fits): (usize, &'static str, fn(&str) -> bool) = match kind {
        "thing" | "const" => (20, "text without control characters and line breaks", has_no_control),
        "number" => (32, "digits, perhaps with a decimal point", is_number),
        "letter" => (32, "letters only", |text| text.chars().all(|c| c.is_ascii_alphabetic())),
        "symbol" => (5, "symbols only", |text| has_no_control(text) && !text.chars().any(char::is_alphanumeric)),
        "character_string" => (32, "digits, letters and symbols; no Chinese, no full-width forms", is_narrow),
        "time" => {
            (usize::MAX, "a 24-hour time, such as 15:01 or 2026年1月31日 15:01", |text| each_part(text, is_time))
        }
        "date" => (usize::MAX, "a date, such as 2026年1月31日 or 2026-01-31 15:01", |text| each_part(text, is_date)),
        "amount" => (usize::MAX, "a currency sign, at most 10 digits, decimals, 元: ¥28.00", is_amount),
        "phone_number" => (17, "digits and symbols: +86-0766-66888866", is_phone_number),
        "car_number" => (8, "a number plate: 粤A8Z888", is_plate),
        "name" if has_han => (10, "a name without digits", is_name),
        "name" => (20, "a name without digits", is_name),
        "phrase" => (5, "Chinese only", |text| text.chars().all(is_han)),
        _ => return None,
    };
    let chars = value.chars().count();
    if chars > most {
        return Some(Misfit::TooLong { chars, most });
    }
    (!fits(value)).then_some(Misfit::Form(expected))
}

/// Han script: unified ideographs, their extensions and compatibility forms, and the signs that stand among them.
fn is_han(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fd5}' | '々' | '〇' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{fad9}' | '\u{20000}'..='\u{323af}')
}

fn has_no_control(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_narrow(text: &str) -> bool {
    let is_wide = |c: char| is_han(c) || matches!(c, '\u{3000}' | '\u{ff01}'..='\u{ff5e}');
    has_no_control(text) && !text.chars().any(is_wide)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    is_digits(whole) && is_digits(decimals)
}

fn is_amount(text: &str) -> bool {
    let first = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (sign, rest) = text.split_at(first);
    let rest = rest.strip_suffix('元').unwrap_or(rest);
    let (whole, decimals) = rest.split_once('.').unwrap_or((rest, "0"));
    let is_sign = sign.chars().count() <= 3 && !sign.chars().any(char::is_whitespace);
    is_sign && is_digits(whole) && whole.len() <= 10 && is_digits(decimals)
}

fn is_phone_number(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || "+-() #*".contains(c))
}

/// The first and the last character may be Chinese.
fn is_plate(text: &str) -> bool {
    let middle = text.strip_prefix(is_han).unwrap_or(text);
    let middle = middle.strip_suffix(is_han).unwrap_or(middle);
    !middle.is_empty() && middle.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_name(text: &str) -> bool {
    has_no_control(text) && !text.chars().any(char::is_numeric)
}

/// A stretch is written with `~`.
fn each_part(text: &str, fits: fn(&str) -> bool) -> bool {
    text.split(['~', '～']).all(|part| fits(part.trim()))
}

/// A time of the day, perhaps with a date in front.
fn is_time(text: &str) -> bool {
    let (date, time) = text.rsplit_once(' ').unwrap_or(("", text));
    is_clock(time) && (date.is_empty() || is_day(date.trim()))
}

/// A date, perhaps with a time behind.
fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once(' ').unwrap_or((text, ""));
    is_day(date) && (time.is_empty() || is_clock(time.trim()))
}

/// `15:01`, `15:01:30`.
fn is_clock(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let within = |part: &str, below: u8| part.len() <= 2 && part.parse::<u8>().is_ok_and(|number| number < below);
    let (hour, rest) = parts.split_first().map_or(("", &[][..]), |(hour, rest)| (*hour, rest));
    within(hour, 24) && (1..=2).contains(&rest.len()) && rest.iter().all(|part| part.len() == 2 && within(part, 60))
}

/// `2026年1月31日`, `2026-01-31`, `2026/1/31`, `2026.1.31`, `2026年1月`, `1月31日`.
fn is_day(text: &str) -> bool {
    let number = |text: &str, most: u16| is_digits(text) && text.parse::<u16>().is_ok_and(|n| (1..=most).contains(&n));
    let year = |text: &str| text.len() == 4 && is_digits(text);
    for separator in ['-', '/', '.'] {
        if let [y, m, d] = text.split(separator).collect::<Vec<_>>()[..] {
            return year(y) && number(m, 12) && number(d, 31);
        }
    }
    let (years, rest) = text.split_once('年').map_or((None, text), |(y, rest)| (Some(y), rest));
    let Some((months, days)) = rest.split_once('月') else { return false };
    let day = days.strip_suffix('日').map_or(days.is_empty() && years.is_some(), |day| number(day, 31));
    years.is_none_or(year) && number(months, 12) && day
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_what_wechat_documents() {
        for (keyword, value) in [
            ("thing1", "二十个字以内的汉字、数字、字母或符号ok"),
            ("thing20", "x"),
            ("const3", "已支付"),
            ("number01", "12"),
            ("number1", "-0.5"),
            ("letter2", "ABCdef"),
            ("symbol1", "!?#…"),
            ("character_string3", "NO.2026/01-7 #a"),
            ("time3", "15:01"),
            ("time3", "2019年10月1日 15:01"),
            ("time3", "2026-01-31 08:00:59"),
            ("time3", "2019年10月1日 15:01~2019年10月2日 15:01"),
            ("time3", "9:05 ~ 10:00"),
            ("date1", "2019年10月1日"),
            ("date1", "2019年10月"),
            ("date1", "10月1日"),
            ("date1", "2026-1-31"),
            ("date1", "2026/01/31 08:00"),
            ("date1", "2026.1.31~2026.2.1"),
            ("amount2", "¥28.00"),
            ("amount2", "28元"),
            ("amount2", "HK$1234567890.5"),
            ("amount2", "0"),
            ("phone_number4", "+86-0766-66888866"),
            ("car_number5", "粤A8Z888挂"),
            ("car_number5", "A8Z888"),
            ("name6", "王小明"),
            ("name6", "Anne-Marie O'Neil"),
            ("phrase7", "配送中"),
            // Of no type, or of one whose rule nobody knows.
            ("first", "x\ny"),
            ("keyword1", "一二三四五六七八九十一二三四五六七八九十一"),
            ("thing", "一二三四五六七八九十一二三四五六七八九十一"),
            ("enum1", "anything\u{7}"),
            ("short_thing1", "一二三四五六七八九十一二三四五六七八九十一"),
        ] {
            assert_eq!(misfit(keyword, value), None, "{keyword} {value:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_counted_in_characters() {
        for (keyword, value, most) in [
            ("thing1", "二".repeat(21), 20),
            ("const1", "c".repeat(21), 20),
            ("number1", "1".repeat(33), 32),
            ("letter1", "a".repeat(33), 32),
            ("symbol1", "!".repeat(6), 5),
            ("character_string1", "a".repeat(33), 32),
            ("phone_number1", "1".repeat(18), 17),
            ("car_number1", "A".repeat(9), 8),
            ("name1", "王".repeat(11), 10),
            ("name1", "x".repeat(21), 20),
            ("phrase1", "中".repeat(6), 5),
        ] {
            let chars = value.chars().count();
            assert_eq!(misfit(keyword, &value), Some(Misfit::TooLong { chars, most }), "{keyword}");
            let fitting: String = value.chars().skip(1).collect();
            assert_eq!(misfit(keyword, &fitting), None, "{keyword}: one fewer fits");
        }
    }

    #[test]
    fn what_is_of_another_form_is_told() {
        for (keyword, value) in [
            ("thing1", "two\nlines"),
            ("thing1", "bell\u{7}"),
            ("number1", "12a"),
            ("number1", "1,000"),
            ("number1", "."),
            ("number1", "１２"),
            ("letter1", "a b"),
            ("symbol1", "a!"),
            ("character_string1", "单号7"),
            ("character_string1", "ＡＢ"),
            ("time1", "2019年10月1日"),
            ("time1", "24:00"),
            ("time1", "8:5"),
            ("time1", "noon"),
            ("time1", "08:00~late"),
            ("date1", "2026-13-01"),
            ("date1", "31.1.26"),
            ("date1", "1日"),
            ("date1", "tomorrow"),
            ("amount1", "12345678901"),
            ("amount1", "about 5"),
            ("amount1", "five"),
            ("amount1", "¥1,234.00"),
            ("phone_number1", "call me"),
            ("car_number1", "粤粤A"),
            ("car_number1", "A-8"),
            ("name1", "R2D2"),
            ("phrase1", "ok"),
            ("phrase1", "配送 中"),
        ] {
            assert!(matches!(misfit(keyword, value), Some(Misfit::Form(_))), "{keyword} {value:?}");
        }
    }
}
