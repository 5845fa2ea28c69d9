//! Keyword types of category templates: what WeChat would refuse with 47003 when it checks.
//! Follows the page "Template messages", table of parameter types. In: a key and its value. Out: whether it fits.

/// Whether a value fits the type that its key names (`thing1` → `thing`). Keys of no known type take anything but nothing.
pub(super) fn fits(key: &str, value: &str) -> bool {
    let length = value.chars().count();
    let up_to = |limit: usize| (1..=limit).contains(&length);
    let all = |test: fn(char) -> bool| value.chars().all(test);
    let no_control = all(|c| !c.is_control());
    match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "thing" | "const" => up_to(20) && no_control,
        "number" => up_to(32) && is_number(value.strip_prefix('-').unwrap_or(value)),
        "letter" => up_to(32) && all(|c| c.is_ascii_alphabetic()),
        "symbol" => up_to(5) && all(|c| !c.is_alphanumeric() && !c.is_control()),
        "character_string" => up_to(32) && no_control && !value.chars().any(is_han),
        "amount" => is_amount(value),
        "phone_number" => up_to(17) && all(|c| c.is_ascii_digit() || "+-() #*".contains(c)),
        "car_number" => up_to(8) && all(|c| c.is_ascii_alphanumeric() || is_han(c)),
        "name" if value.chars().any(is_han) => up_to(10) && no_control,
        "name" => up_to(20) && !value.chars().any(|c| c.is_ascii_digit()),
        "phrase" => up_to(5) && all(is_han),
        "time" => value.contains([':', '：']) && has_digit(value),
        "date" => value.contains(['年', '月', '-', '/', '.']) && has_digit(value),
        _ => length > 0,
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn has_digit(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// A currency sign of up to three characters, up to ten digits before the point, perhaps `元` behind.
fn is_amount(text: &str) -> bool {
    let sign: usize = text.chars().take_while(|c| !c.is_ascii_digit()).count();
    let rest: String = text.chars().skip(sign).collect();
    let rest = rest.strip_suffix('元').unwrap_or(&rest);
    let whole = rest.split('.').next().unwrap_or_default();
    sign <= 3 && !text.starts_with(char::is_whitespace) && whole.len() <= 10 && is_number(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_and_refuses() {
        let cases = [
            ("thing1", "订单已支付", true),
            ("thing1", "一二三四五六七八九十一二三四五六七八九十多", false),
            ("thing1", "two\nlines", false),
            ("thing1", "", false),
            ("number01", "12.5", true),
            ("number01", "12a", false),
            ("letter2", "abc", true),
            ("letter2", "ab1", false),
            ("symbol1", "!!", true),
            ("symbol1", "a", false),
            ("character_string3", "NO-2026/01", true),
            ("character_string3", "编号1", false),
            ("amount2", "¥12.50", true),
            ("amount2", "12元", true),
            ("amount2", "12345678901", false),
            ("amount2", "free", false),
            ("phone_number1", "+86-0766-66888866", true),
            ("phone_number1", "phone", false),
            ("car_number1", "粤A8Z888挂", true),
            ("car_number1", "粤A8Z888888", false),
            ("name1", "王小明", true),
            ("name1", "R2D2", false),
            ("phrase1", "已发货", true),
            ("phrase1", "sent", false),
            ("time3", "2019年10月1日 15:01", true),
            ("time3", "noon", false),
            ("date4", "2019-10-01", true),
            ("date4", "today", false),
            ("first", "anything", true),
            ("first", "", false),
        ];
        for (key, value, expected) in cases {
            assert_eq!(fits(key, value), expected, "{key} {value}");
        }
    }
}
