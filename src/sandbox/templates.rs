//! The demo account's template list, as `get_all_private_template` shows it.

use serde_json::{Value, json};

/// A template with its keyword lines.
pub(super) struct Template {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    industry: [&'static str; 2],
    /// Label, key, example.
    pub(super) lines: &'static [(&'static str, &'static str, &'static str)],
}

/// Ids that start so are unknown to every account.
pub(super) const UNKNOWN_PREFIX: &str = "TPL-UNKNOWN";

pub(super) const TEMPLATES: &[Template] = &[
    Template {
        id: "TPL-ORDER-PAID",
        title: "订单支付成功通知",
        industry: ["IT科技", "互联网|电子商务"],
        lines: &[
            ("商品名称", "thing1", "精选咖啡豆"),
            ("订单金额", "amount2", "¥68.00"),
            ("订单编号", "character_string3", "NO202601310001"),
            ("支付时间", "time4", "2026-01-31 08:00:00"),
        ],
    },
    Template {
        id: "TPL-ORDER-SHIPPED",
        title: "订单发货通知",
        industry: ["IT科技", "互联网|电子商务"],
        lines: &[
            ("订单编号", "character_string1", "NO202601310001"),
            ("快递公司", "thing2", "顺丰速运"),
            ("发货状态", "phrase3", "已发货"),
        ],
    },
    Template {
        id: "TPL-ALARM",
        title: "设备告警通知",
        industry: ["IT科技", "IT硬件与设备"],
        lines: &[
            ("设备名称", "thing1", "一号机房空调"),
            ("告警级别", "const2", "严重"),
            ("当前温度", "number3", "41.5"),
            ("告警时间", "time4", "2026-01-31 08:00"),
        ],
    },
    Template {
        id: "TPL-CLASSIC",
        title: "服务进度提醒",
        industry: ["IT科技", "IT软件与服务"],
        lines: &[
            ("", "first", "您好，您的服务有新进展"),
            ("服务项目", "keyword1", "年度保养"),
            ("当前进度", "keyword2", "已完成"),
            ("", "remark", "感谢您的使用"),
        ],
    },
];

pub(super) fn look_up(id: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.id == id)
}

impl Template {
    /// As one entry of `template_list`.
    pub(super) fn listed(&self) -> Value {
        let line = |text: &dyn Fn(&str, &str) -> String| {
            let lines = self.lines.iter().map(|(label, key, example)| {
                let shown = text(key, example);
                if label.is_empty() { shown } else { format!("{label}：{shown}") }
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        json!({
            "template_id": self.id,
            "title": self.title,
            "primary_industry": self.industry[0],
            "deputy_industry": self.industry[1],
            "content": line(&|key, _| format!("{{{{{key}.DATA}}}}")),
            "example": line(&|_, example| example.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::keywords::fits;

    #[test]
    fn content_holds_the_keys_and_examples_keep_the_types() {
        let listed = look_up("TPL-ORDER-PAID").unwrap().listed();
        assert!(
            listed["content"].as_str().unwrap().starts_with("商品名称：{{thing1.DATA}}\n订单金额：{{amount2.DATA}}")
        );
        for (_, key, example) in TEMPLATES.iter().flat_map(|template| template.lines) {
            assert!(fits(key, example), "{key}: {example}");
        }
    }
}
