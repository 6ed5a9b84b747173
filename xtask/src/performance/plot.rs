//! Plots as SVG: lines over two axes, and bars.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::bench::Result;

/// In pixels.
const SIZE: (u32, u32) = (760, 380);
const BAR: u32 = 30;

/// One colour for each line, told apart without colour vision too.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Lines with their names.
pub struct Lines<'t> {
    pub title: &'t str,
    /// What the axes show.
    pub x: &'t str,
    pub y: &'t str,
    /// Is an axis logarithmic?
    pub log_x: bool,
    pub log_y: bool,
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Lines<'_> {
    /// Into a file.
    pub fn draw(&self, file: &Path) -> Result<()> {
        let all = || self.lines.iter().flat_map(|(_, points)| points);
        let least = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
        let x = least(|it| it.0)..most(|it| it.0).max(least(|it| it.0) * 1.01);
        let y = if self.log_y { least(|it| it.1).max(1e-3) } else { 0.0 }..most(|it| it.1) * 1.05;
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        match (self.log_x, self.log_y) {
            (false, false) => self.on(&area, x, y),
            (true, false) => self.on(&area, x.log_scale(), y),
            (false, true) => self.on(&area, x, y.log_scale()),
            (true, true) => self.on(&area, x.log_scale(), y.log_scale()),
        }
    }

    fn on<X, Y>(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, x: X, y: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let failed = |error: &dyn std::fmt::Display| format!("the plot {}: {error}", self.title);
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(x, y)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .light_line_style(WHITE)
            .draw()
            .map_err(|error| failed(&error))?;
        for (at, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(line)
                .map_err(|error| failed(&error))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.2))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error).into())
    }
}

/// Bars, one below the other, each with its name and its number.
pub struct Bars<'t> {
    pub title: &'t str,
    /// What they show.
    pub x: &'t str,
    pub bars: Vec<(String, f64)>,
}

impl Bars<'_> {
    /// Into a file.
    pub fn draw(&self, file: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| format!("the plot {}: {error}", self.title);
        let count = self.bars.len() as u32;
        let area = SVGBackend::new(file, (SIZE.0, 70 + BAR * count)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let most = self.bars.iter().map(|(_, number)| *number).fold(1.0, f64::max);
        let caption = format!("{} ({})", self.title, self.x);
        area.draw_text(&caption, &("sans-serif", 18).into_text_style(&area), (16, 16))
            .map_err(|error| failed(&error))?;
        let style = ("sans-serif", 13).into_text_style(&area);
        for (at, (name, number)) in (0..).zip(&self.bars) {
            let top = 50 + at * BAR as i32;
            let width = (number / most * 330.0).max(1.0) as i32;
            area.draw_text(name, &style, (16, top + 6)).map_err(|error| failed(&error))?;
            let bar = [(320, top + 2), (320 + width, top + BAR as i32 - 6)];
            area.draw(&Rectangle::new(bar, COLOURS[0].filled())).map_err(|error| failed(&error))?;
            area.draw_text(&format!("{number:.1}"), &style, (328 + width, top + 6))
                .map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error).into())
    }
}
