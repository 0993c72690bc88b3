// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import WallTime

/// A page that is one file: nothing is loaded from elsewhere, and it follows the reader's choice of light or dark.
struct HTML {
    private var body = ""

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    mutating func heading(_ text: String) { body += "<h2>\(Self.escaped(text))</h2>\n" }
    mutating func paragraph(_ text: String) { body += "<p>\(Self.escaped(text))</p>\n" }

    mutating func plot(_ plot: Plot) {
        body += "<figure><figcaption>\(Self.escaped(plot.title))</figcaption>\(plot.svg)\(plot.legend)</figure>\n"
    }

    /// The first column names the rows.
    mutating func table(_ head: [String], _ rows: [[String]]) {
        guard !rows.isEmpty else { return }
        body += "<div class=\"wide\"><table><thead><tr>"
        for cell in head { body += "<th scope=\"col\">\(Self.escaped(cell))</th>" }
        body += "</tr></thead><tbody>\n"
        for row in rows {
            body += "<tr>"
            for (column, cell) in row.enumerated() {
                body += column == 0 ? "<th scope=\"row\">\(Self.escaped(cell))</th>" : "<td>\(Self.escaped(cell))</td>"
            }
            body += "</tr>\n"
        }
        body += "</tbody></table></div>\n"
    }

    /// The figures of summaries, one in a row; those without any are left out.
    mutating func table(_ name: String, of summaries: [(name: String, summary: Summary?)]) {
        let known = summaries.compactMap { row in row.summary.map { (row.name, $0) } }
        guard let first = known.first else { return }
        table([name] + first.1.figures.map(\.name), known.map { name, summary in [name] + summary.figures.map { decimalText($0.value, digits: 3) } })
    }

    /// - Parameter command: as it was given, the program first. What may hold a secret is left out of it.
    func page(title: String, command: [String]) -> [UInt8] {
        let page = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(Self.escaped(title))</title>
            <style>\(Self.style)</style>
            </head>
            <body>
            <main>
            <h1>\(Self.escaped(title))</h1>
            <p class="when">\(Self.date(systemTime()))</p>
            <pre>\(Self.shown(command).map { "<span>\(Self.escaped($0))</span>" }.joined(separator: " "))</pre>
            \(body)</main>
            </body>
            </html>

            """
        return Array(page.utf8)
    }

    /// The time as a person reads it, of Unix time in milliseconds.
    static func date(_ time: Int64) -> String {
        let days = floorDivide(time, 86_400_000)
        let seconds = (time - days * 86_400_000) / 1000
        let date = CivilDate(daysSince1970: days)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(two).joined(separator: ":")
        return "\(date.year)-\(two(date.month))-\(two(date.day)) \(clock) UTC"
    }

    /// The words of the command as a shell would take them, without the program's folder, the queries of URLs and other programs' commands.
    static func shown(_ command: [String]) -> [String] {
        command.enumerated().map { place, word in
            if place == 0 { return word.split(separator: "/").last.map(String.init) ?? word }
            if ["--logout-command", "--during"].contains(command[place - 1]) { return "…" }
            for option in ["--logout-command=", "--during="] where word.hasPrefix(option) { return option + "…" }
            // Several URLs may stand in one word.
            let isList = command[place - 1] == "--edges" || word.hasPrefix("--edges=")
            let parts = isList ? word.split(separator: ",", omittingEmptySubsequences: false) : [Substring(word)]
            let shown = parts.map { Target.withoutQuery(String($0)) }.joined(separator: ",")
            let isPlain = shown.utf8.allSatisfy { $0 &- 0x30 < 10 || ($0 | 0x20) &- UInt8(ascii: "a") < 26 || "-._/:,=@%+".utf8.contains($0) }
            return isPlain && !shown.isEmpty ? shown : "'\(shown.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''"))'"
        }
    }

    private static let style = """
        :root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --back: #ffffff; --grid: #d8dee4; --tint: #f3f5f7;
          --c1: #0a5cc2; --c2: #b3550a; --c3: #1a7f37; --c4: #8250df; --c5: #c11574; --c6: #4d5560; }
        @media (prefers-color-scheme: dark) { :root { --text: #e6e9ed; --soft: #9aa4af; --back: #14181d; --grid: #323a43; --tint: #1d232a;
          --c1: #6cb0ff; --c2: #f0a55a; --c3: #5fd07b; --c4: #c4a2ff; --c5: #ff86bd; --c6: #aab4bf; } }
        body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
        main { max-width: 860px; margin: 0 auto; padding: 24px 16px 48px; }
        h1 { font-size: 22px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 32px 0 8px; }
        .when { color: var(--soft); margin: 4px 0 12px; }
        pre { background: var(--tint); padding: 10px 12px; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
        pre span { display: inline-block; max-width: 100%; }
        figure { margin: 20px 0; } figcaption { font-weight: 600; margin-bottom: 4px; }
        svg { width: 100%; height: auto; display: block; } svg text { font-size: 11px; fill: var(--soft); } svg text.name { fill: var(--text); }
        .grid { stroke: var(--grid); stroke-width: 1; } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
        .l1 { stroke: var(--c1); } .l2 { stroke: var(--c2); } .l3 { stroke: var(--c3); } .l4 { stroke: var(--c4); } .l5 { stroke: var(--c5); }
        .l6 { stroke: var(--c6); } .d1 { fill: var(--c1); } .d2 { fill: var(--c2); } .d3 { fill: var(--c3); } .d4 { fill: var(--c4); }
        .d5 { fill: var(--c5); } .d6 { fill: var(--c6); }
        .legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0; padding: 0 0 0 70px; font-size: 13px; }
        .key { display: inline-block; width: 14px; height: 3px; margin-right: 7px; vertical-align: middle; border-radius: 2px; }
        .k1 { background: var(--c1); } .k2 { background: var(--c2); } .k3 { background: var(--c3); } .k4 { background: var(--c4); }
        .k5 { background: var(--c5); } .k6 { background: var(--c6); }
        .wide { overflow-x: auto; margin: 12px 0; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
        th, td { padding: 4px 12px 4px 0; text-align: right; border-bottom: 1px solid var(--grid); }
        thead th { color: var(--soft); font-weight: 500; }
        th:first-child { text-align: left; } tbody th { font-weight: 500; }
        """
}
