// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// A plot as SVG, to stand in a page that has the colours. All numbers are of the data; the drawing is 720 by 280 units.
struct Plot {
    struct Series {
        var name: String
        /// Nil breaks the line.
        var points: [(x: Double, y: Double)?]
        /// The colour of the page's palette, from 1.
        var colour: Int
    }

    struct Tick {
        var place: Double
        var label: String
    }

    struct Axis {
        var name: String
        var ticks: [Tick]
        var range: ClosedRange<Double>
        var isLogarithmic = false

        /// From 0 or the smallest value to a round number above the greatest; `isTight`: to the greatest itself.
        static func linear(_ name: String, covering values: [Double], isTight: Bool = false) -> Axis {
            var low = min(0, values.min() ?? 0)
            var high = max(0, values.max() ?? 0)
            if low == high { high = low + 1 }
            let end = high
            let step = roundStep((high - low) / 5)
            low = (low / step).rounded(.down) * step
            high = (high / step).rounded(.up) * step
            let count = Int(((high - low) / step).rounded())
            let digits = Int(max(0, -log10(step).rounded(.down)))
            let ticks = (0...count).map { number in
                let place = low + Double(number) * step
                return Tick(place: place, label: decimalText(place, digits: digits))
            }
            guard isTight else { return Axis(name: name, ticks: ticks, range: low...high) }
            return Axis(name: name, ticks: ticks.filter { $0.place <= end }, range: low...end)
        }

        /// The scale of percentiles, which gives each further nine as much room as the one before: `1 / (1 - p)`, logarithmic.
        static func percentiles(upTo greatest: Double) -> Axis {
            let labels = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"]
            var ticks: [Tick] = []
            var place = 1.0
            for label in labels where place <= max(10, greatest) {
                ticks.append(Tick(place: place, label: label))
                place *= 10
            }
            return Axis(name: "percentile", ticks: ticks, range: 1...max(10, greatest), isLogarithmic: true)
        }

        /// 1, 2 or 5 times a power of ten, not below.
        private static func roundStep(_ step: Double) -> Double {
            let power = pow(10, log10(step).rounded(.down))
            return ([1, 2, 5].first { $0 * power >= step * 0.999_999 } ?? 10) * power
        }

        /// From 0 to 1.
        func position(_ value: Double) -> Double {
            if isLogarithmic { return log10(max(value, range.lowerBound)) / log10(range.upperBound) }
            return (value - range.lowerBound) / (range.upperBound - range.lowerBound)
        }
    }

    /// The page's palette.
    static let colours = 6
    private static let left = 70.0, right = 704.0, top = 12.0, bottom = 232.0
    /// More points than that are drawn without dots.
    private static let dottedPoints = 40

    var title: String
    var x: Axis
    var y: Axis
    var series: [Series]

    /// For screen readers the title; what it shows stands in the page's table, too.
    var svg: String {
        var text = "<svg viewBox=\"0 0 720 280\" role=\"img\" aria-label=\"\(HTML.escaped(title))\">"
        for tick in y.ticks {
            let place = Self.number(vertical(tick.place))
            text += "<line class=\"grid\" x1=\"\(Self.left)\" x2=\"\(Self.right)\" y1=\"\(place)\" y2=\"\(place)\"/>"
            text += "<text x=\"\(Self.left - 8)\" y=\"\(place)\" text-anchor=\"end\" dy=\"0.35em\">\(HTML.escaped(tick.label))</text>"
        }
        for tick in x.ticks {
            let place = Self.number(horizontal(tick.place))
            text += "<line class=\"grid\" x1=\"\(place)\" x2=\"\(place)\" y1=\"\(Self.top)\" y2=\"\(Self.bottom)\"/>"
            text += "<text x=\"\(place)\" y=\"\(Self.bottom + 18)\" text-anchor=\"middle\">\(HTML.escaped(tick.label))</text>"
        }
        let middle = (Self.left + Self.right) / 2
        text += "<text class=\"name\" x=\"\(middle)\" y=\"\(Self.bottom + 40)\" text-anchor=\"middle\">\(HTML.escaped(x.name))</text>"
        text += "<text class=\"name\" transform=\"translate(14 \((Self.top + Self.bottom) / 2)) rotate(-90)\" text-anchor=\"middle\">"
        text += "\(HTML.escaped(y.name))</text>"
        for series in series { text += drawn(series) }
        return text + "</svg>"
    }

    /// The names of the lines with their colours; nothing where there is but one.
    var legend: String {
        guard series.count > 1 else { return "" }
        let items = series.map { "<li><span class=\"key k\($0.colour)\"></span>\(HTML.escaped($0.name))</li>" }
        return "<ul class=\"legend\">\(items.joined())</ul>"
    }

    private func drawn(_ series: Series) -> String {
        var path = ""
        var dots = ""
        var isFirst = true
        let hasDots = series.points.count <= Self.dottedPoints
        for point in series.points {
            guard let point else {
                isFirst = true
                continue
            }
            let place = (Self.number(horizontal(point.x)), Self.number(vertical(point.y)))
            path += "\(isFirst ? "M" : "L")\(place.0) \(place.1)"
            isFirst = false
            if hasDots { dots += "<circle class=\"d\(series.colour)\" cx=\"\(place.0)\" cy=\"\(place.1)\" r=\"2.2\"/>" }
        }
        return "<path class=\"line l\(series.colour)\" d=\"\(path)\"/>" + dots
    }

    private func horizontal(_ value: Double) -> Double { Self.left + x.position(value) * (Self.right - Self.left) }
    private func vertical(_ value: Double) -> Double { Self.bottom - y.position(value) * (Self.bottom - Self.top) }
    private static func number(_ value: Double) -> String { decimalText(value, digits: 1) }
}
