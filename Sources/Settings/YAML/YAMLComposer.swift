// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Builds the tree of one document from its events.
struct YAMLComposer {
    private(set) var root: YAMLNode?

    private struct Open {
        let isMapping: Bool
        let place: Place
        let anchor: String?
        /// Of a mapping: keys and values in turn.
        var items: [YAMLNode] = []
        var weight = 1
        var depth = 0
    }

    private var open: [Open] = []
    private var anchors: [String: YAMLNode] = [:]
    private var hasDocument = false
    /// Values so far, aliases not replaced: bounds the memory while the document is read.
    private var count = 0

    /// - Returns: whether there is more to come.
    mutating func take(_ event: YAMLEvent) throws(YAMLProblem) -> Bool {
        switch event.kind {
        case .other: break
        case .streamEnd: return false
        case .documentStart:
            guard !hasDocument else { throw YAMLProblem(place: event.place, message: "has a second document here, one is read") }
            hasDocument = true
        case .alias(let name):
            guard var node = anchors[name] else { throw YAMLProblem(place: event.place, message: "is no YAML: this alias has no anchor before it") }
            node.place = event.place
            try add(node)
        case .scalar(let text, let isPlain):
            let scalar = YAMLScalar(text: text, kind: try kind(event, text, isPlain))
            try finish(YAMLNode(place: event.place, content: .scalar(scalar), weight: 1, depth: 0), anchor: event.anchor)
        case .sequenceStart, .mappingStart:
            var isMapping = false
            if case .mappingStart = event.kind { isMapping = true }
            guard event.tag == nil || event.tag == (isMapping ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq") || event.tag == "!" else {
                throw unknownTag(event)
            }
            guard open.count < YAMLLimit.depth else {
                throw YAMLProblem(place: event.place, message: "is nested too deeply: more than \(YAMLLimit.depth) collections")
            }
            open.append(Open(isMapping: isMapping, place: event.place, anchor: event.anchor))
        case .collectionEnd:
            guard let collection = open.popLast() else { break }
            let node = YAMLNode(
                place: collection.place, content: collection.isMapping ? .mapping(pairs(collection.items)) : .sequence(collection.items),
                weight: collection.weight, depth: collection.depth + 1)
            try finish(node, anchor: collection.anchor)
        }
        return true
    }

    private mutating func finish(_ node: YAMLNode, anchor: String?) throws(YAMLProblem) {
        count += 1
        guard count <= YAMLLimit.values else { throw tooLarge(node.place) }
        if let anchor { anchors[anchor] = node }
        try add(node)
    }

    private mutating func add(_ node: YAMLNode) throws(YAMLProblem) {
        guard let last = open.indices.last else {
            root = node
            return
        }
        open[last].items.append(node)
        open[last].weight += node.weight
        open[last].depth = max(open[last].depth, node.depth)
        guard open[last].weight <= YAMLLimit.values else { throw tooLarge(node.place) }
        guard open[last].depth < YAMLLimit.depth else {
            throw YAMLProblem(place: node.place, message: "is nested too deeply: more than \(YAMLLimit.depth) collections")
        }
    }

    private func tooLarge(_ place: Place) -> YAMLProblem {
        YAMLProblem(place: place, message: "is too large here: more than \(YAMLLimit.values) values, those that aliases stand for included")
    }

    private func pairs(_ items: [YAMLNode]) -> [(key: YAMLNode, value: YAMLNode)] {
        stride(from: 0, to: items.count - 1, by: 2).map { (items[$0], items[$0 + 1]) }
    }

    private func kind(_ event: YAMLEvent, _ text: String, _ isPlain: Bool) throws(YAMLProblem) -> YAMLScalar.Kind {
        switch event.tag {
        case nil: isPlain ? YAMLScalar.kind(ofPlain: text) : .text
        case "!", "tag:yaml.org,2002:str": .text
        case "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null": YAMLScalar.kind(ofPlain: text)
        default: throw unknownTag(event)
        }
    }

    private func unknownTag(_ event: YAMLEvent) -> YAMLProblem { YAMLProblem(place: event.place, message: "has a tag here that is not understood") }
}
