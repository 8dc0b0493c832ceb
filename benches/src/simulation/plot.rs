//! Lines in an SVG, on a logarithmic axis: small enough to be written by hand.

use std::fmt::Write;

/// One line: its name and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// An SVG of 720 × 420 with these lines; y is logarithmic.
pub fn lines(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let span = |values: Vec<f64>| {
        values.into_iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x_low, x_high) = span(all().map(|point| point.0).collect());
    let (y_low, y_high) = span(all().map(|point| point.1.max(0.01).log10()).collect());
    let (y_low, y_high) = (y_low.floor(), y_high.ceil());
    let x = |value: f64| 60.0 + (value - x_low) / (x_high - x_low).max(1e-9) * 480.0;
    let y = |value: f64| 370.0 - (value.max(0.01).log10() - y_low) / (y_high - y_low).max(1e-9) * 320.0;
    let mut svg = String::new();
    let mut put = |text: String| svg.push_str(&text);
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 420\" font-family=\"sans-serif\" font-size=\"12\">\n".into());
    put("<rect width=\"720\" height=\"420\" fill=\"white\"/>\n".into());
    put(format!("<text x=\"60\" y=\"24\" font-size=\"15\">{title}</text>\n"));
    put(format!("<text x=\"300\" y=\"408\" text-anchor=\"middle\">{x_name}</text>\n"));
    put(format!(
        "<text x=\"16\" y=\"210\" text-anchor=\"middle\" transform=\"rotate(-90 16 210)\">{y_name}</text>\n"
    ));
    let mut tick = 10_f64.powf(y_low);
    while tick <= 10_f64.powf(y_high) * 1.001 {
        let at = y(tick);
        put(format!(
            "<path d=\"M60 {at:.1}H540\" stroke=\"#ddd\"/><text x=\"54\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>\n",
            at + 4.0
        ));
        tick *= 10.0;
    }
    for (value, _) in lines.first().map(|line| line.1.clone()).unwrap_or_default() {
        put(format!("<text x=\"{:.1}\" y=\"388\" text-anchor=\"middle\">{value}</text>\n", x(value)));
    }
    for (n, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let mut path = String::new();
        for (step, &(at, value)) in points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if step == 0 { 'M' } else { 'L' }, x(at), y(value));
        }
        put(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"));
        let row = 60 + 20 * n;
        put(format!(
            "<path d=\"M556 {row}h20\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"582\" y=\"{}\">{name}</text>\n",
            row + 4
        ));
    }
    svg + "</svg>\n"
}

const COLOURS: [&str; 8] =
    ["#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#7d5ba6", "#30343f", "#00a6a6", "#a0522d"];
