// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import CYaml

/// Why a text is no YAML document that we read. The message is never made of the text.
struct YAMLProblem: Error {
    let place: Place
    let message: String
}

enum YAMLLimit {
    /// Collections within each other. The configuration has five.
    static let depth = 64
    /// Values of a document when its aliases are replaced, so that a few nested ones cannot stand for billions. 10 000 long routes have a third of it.
    static let values = 1_000_000
}

/// Composes one YAML document from the events of libyaml, the C parser that is part of Yams.
///
/// Yams' own composer is not used: it compares mapping keys as whole trees, which aliases make exponential, stops at the first key that is there
/// twice, and does not tell where an alias is used. Nothing here is recursive, and whatever libyaml allocates for an event lives as long as that.
struct YAMLDocument {
    /// Nil: there is no value at all, only white space and comments.
    static func root(of bytes: [UInt8]) throws(YAMLProblem) -> YAMLNode? {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else { throw YAMLProblem(place: .start, message: "cannot be read for want of memory") }
        defer { yaml_parser_delete(&parser) }
        // A byte order mark is no part of the text (YAML 1.2 §5.2); libyaml skips it only where it may guess the encoding.
        let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
        let result: Result<YAMLNode?, YAMLProblem> = text.withUnsafeBufferPointer { text in
            yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
            yaml_parser_set_input_string(&parser, text.baseAddress, text.count)
            var composer = YAMLComposer()
            // At the end of a text that does not end its last line libyaml begins one that is not there.
            let end = place(of: text.count, in: text)
            do throws(YAMLProblem) {
                while try composer.take(next(&parser, text, end)) {}
                return .success(composer.root)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func next(_ parser: inout yaml_parser_t, _ text: UnsafeBufferPointer<UInt8>, _ end: Place) throws(YAMLProblem) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(&parser, &event) == 1 else { throw problem(parser, text, end) }
        defer { yaml_event_delete(&event) }
        return YAMLEvent(event, end)
    }

    private static func problem(_ parser: yaml_parser_t, _ text: UnsafeBufferPointer<UInt8>, _ end: Place) -> YAMLProblem {
        switch parser.error {
        case YAML_READER_ERROR:
            let offset = min(parser.problem_offset, text.count)
            // libyaml has decoded it if it complains of the character.
            let isText = parser.problem.map { String(cString: $0) } == "control characters are not allowed"
            return YAMLProblem(place: place(of: offset, in: text), message: isText ? "has a control character here" : "is not UTF-8 here")
        case YAML_MEMORY_ERROR:
            return YAMLProblem(place: .start, message: "cannot be read for want of memory")
        default:
            let reason = parser.problem.map { String(cString: $0) } ?? "it cannot be understood"
            return YAMLProblem(place: min(Place(parser.problem_mark), end), message: "is no YAML: \(reason)")
        }
    }

    /// Of a byte, as libyaml counts: columns are characters; CR, CR LF, U+0085, U+2028 and U+2029 end lines, too (YAML 1.1 §4.2).
    private static func place(of offset: Int, in text: UnsafeBufferPointer<UInt8>) -> Place {
        var place = Place.start
        var before: (UInt8, UInt8) = (0, 0)
        for byte in text[..<offset] {
            switch (before.0, before.1, byte) {
            case (_, 0x0D, 0x0A): break
            case (_, _, 0x0A), (_, _, 0x0D), (_, 0xC2, 0x85), (0xE2, 0x80, 0xA8), (0xE2, 0x80, 0xA9):
                place = Place(line: place.line + 1, column: 1)
            default:
                if byte & 0xC0 != 0x80 { place.column += 1 }
            }
            before = (before.1, byte)
        }
        return place
    }
}

extension Place {
    init(_ mark: yaml_mark_t) { self.init(line: mark.line + 1, column: mark.column + 1) }
}

/// One step of libyaml's parser, copied out of it.
struct YAMLEvent {
    enum Kind {
        case alias(String)
        case scalar(text: String, isPlain: Bool)
        case sequenceStart, mappingStart, collectionEnd
        case documentStart, streamEnd
        /// Nothing that the composer has to know.
        case other
    }

    let kind: Kind
    let place: Place
    var anchor: String?
    /// Written out; nil where the value's form tells its type.
    var tag: String?

    init(_ event: yaml_event_t, _ end: Place) {
        place = min(Place(event.start_mark), end)
        switch event.type {
        case YAML_ALIAS_EVENT:
            kind = .alias(Self.text(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            kind = .scalar(text: text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            anchor = Self.text(scalar.anchor)
            tag = Self.text(scalar.tag)
        case YAML_SEQUENCE_START_EVENT:
            kind = .sequenceStart
            anchor = Self.text(event.data.sequence_start.anchor)
            tag = Self.text(event.data.sequence_start.tag)
        case YAML_MAPPING_START_EVENT:
            kind = .mappingStart
            anchor = Self.text(event.data.mapping_start.anchor)
            tag = Self.text(event.data.mapping_start.tag)
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: kind = .collectionEnd
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_STREAM_END_EVENT: kind = .streamEnd
        default: kind = .other
        }
    }

    private static func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? { pointer.map { String(cString: $0) } }
}
