// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The data plane's counters of one loop, or of several added up, and their text for Prometheus (contract §9).
package struct GatewayMetrics: Sendable {
    struct Pair: Hashable, Comparable {
        var first: String
        var second: String

        init(_ first: String, _ second: String) {
            self.first = first
            self.second = second
        }

        static func < (one: Pair, other: Pair) -> Bool { (one.first, one.second) < (other.first, other.second) }
    }

    /// By route and outcome.
    var requests: [Pair: UInt64] = [:]
    var requestDurations: [String: Histogram] = [:]
    var upstreamDurations: [String: Histogram] = [:]
    /// By source and answer.
    var lookups: [Pair: UInt64] = [:]
    var lookupDurations = Histogram()
    /// By source and outcome.
    var verifications: [Pair: UInt64] = [:]
    var streamsClosed: [String: UInt64] = [:]
    var connections: [String: Int] = [:]
    /// Upstream and endpoint.
    var endpoints: Set<Pair> = []
    /// How old the youngest proof is that no revocation has been missed, in seconds. Zero where the store is asked for every request.
    package var revocationStaleness: Double = 0

    package init() {}

    package mutating func add(_ other: GatewayMetrics) {
        requests.merge(other.requests, uniquingKeysWith: +)
        requestDurations.merge(other.requestDurations) { Self.sum($0, $1) }
        upstreamDurations.merge(other.upstreamDurations) { Self.sum($0, $1) }
        lookups.merge(other.lookups, uniquingKeysWith: +)
        lookupDurations.add(other.lookupDurations)
        verifications.merge(other.verifications, uniquingKeysWith: +)
        streamsClosed.merge(other.streamsClosed, uniquingKeysWith: +)
        connections.merge(other.connections, uniquingKeysWith: +)
        endpoints.formUnion(other.endpoints)
        revocationStaleness = max(revocationStaleness, other.revocationStaleness)
    }

    private static func sum(_ one: Histogram, _ other: Histogram) -> Histogram {
        var sum = one
        sum.add(other)
        return sum
    }

    // MARK: Text

    /// Prometheus' text format 0.0.4.
    package func text() -> String {
        var page = Page()
        page.begin("portcullis_requests_total", "counter", "Requests by route and outcome.")
        for (key, count) in requests.sorted(by: { $0.key < $1.key }) { page.add([("route", key.first), ("outcome", key.second)], "\(count)") }
        page.begin("portcullis_request_duration_seconds", "histogram", "Time from a request's head to the end of its exchange.")
        for (route, histogram) in requestDurations.sorted(by: { $0.key < $1.key }) { page.add(histogram, [("route", route)]) }
        page.begin("portcullis_upstream_duration_seconds", "histogram", "Time from the end of a request to the head of the upstream's answer.")
        for (upstream, histogram) in upstreamDurations.sorted(by: { $0.key < $1.key }) { page.add(histogram, [("upstream", upstream)]) }
        page.begin("portcullis_session_lookups_total", "counter", "Answers to whether a session is active.")
        for (key, count) in lookups.sorted(by: { $0.key < $1.key }) { page.add([("source", key.first), ("answer", key.second)], "\(count)") }
        page.begin("portcullis_session_lookup_duration_seconds", "histogram", "Time that these answers took.")
        page.add(lookupDurations, [])
        page.begin("portcullis_token_verifications_total", "counter", "Tokens that were judged.")
        for (key, count) in verifications.sorted(by: { $0.key < $1.key }) { page.add([("source", key.first), ("outcome", key.second)], "\(count)") }
        page.begin("portcullis_revocation_staleness_seconds", "gauge", "Age of the last proof that no revocation has been missed.")
        page.add([], "\(revocationStaleness)")
        page.begin("portcullis_streams_closed_total", "counter", "Open exchanges that the gateway ended.")
        for (reason, count) in streamsClosed.sorted(by: { $0.key < $1.key }) { page.add([("reason", reason)], "\(count)") }
        page.begin("portcullis_connections", "gauge", "Open client connections.")
        for (state, count) in connections.sorted(by: { $0.key < $1.key }) { page.add([("state", state)], "\(count)") }
        page.begin("portcullis_upstream_endpoint_healthy", "gauge", "Whether requests are sent to an endpoint.")
        for endpoint in endpoints.sorted() { page.add([("upstream", endpoint.first), ("endpoint", endpoint.second)], "1") }
        return page.text
    }

    private struct Page {
        var text = ""
        private var name = ""

        mutating func begin(_ name: String, _ type: String, _ help: String) {
            self.name = name
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }

        mutating func add(_ labels: [(String, String)], _ value: String, suffix: String = "") {
            text += name + suffix
            if !labels.isEmpty { text += "{" + labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",") + "}" }
            text += " \(value)\n"
        }

        mutating func add(_ histogram: Histogram, _ labels: [(String, String)]) {
            for (index, bound) in Histogram.labels.enumerated() {
                add(labels + [("le", bound)], "\(histogram.count(upTo: index))", suffix: "_bucket")
            }
            add(labels + [("le", "+Inf")], "\(histogram.count)", suffix: "_bucket")
            add(labels, histogram.sumText, suffix: "_sum")
            add(labels, "\(histogram.count)", suffix: "_count")
        }

        private static func escaped(_ value: String) -> String {
            var text = ""
            for character in value.unicodeScalars {
                switch character {
                case "\\": text += "\\\\"
                case "\"": text += "\\\""
                case "\n": text += "\\n"
                default: text.unicodeScalars.append(character)
                }
            }
            return text
        }
    }
}
