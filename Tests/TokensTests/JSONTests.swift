// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("JSON")
struct JSONTests {
    func problem(_ bytes: [UInt8]) -> JSONProblem? {
        do throws(JSONProblem) {
            _ = try JSONValue(parsing: bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test("Values are what they say")
    func values() throws {
        let object = try JSONObject(
            parsing: Array(#" {"a" : [1, -0.50e+3, true, false, null, "x", {}, []], "" : "é\u00e9\ud83d\ude00\n\/", "\u0061b":"" } "#.utf8))
        #expect(object.members.map(\.name) == ["a", "", "ab"])
        #expect(object["a"]?.array?.map(\.scalarText) == ["1", "-0.50e+3", "true", "false", nil, "x", nil, nil])
        #expect(object["a"]?.array?[1].number?.value == -500)
        #expect(object[""]?.string == "éé😀\n/")
        #expect(object["b"] == nil)
    }

    @Test(
        "Texts that are not JSON are refused where they go wrong",
        arguments: [
            ("", JSONProblem.Reason.endsEarly, 0), (" ", .endsEarly, 1), ("{", .endsEarly, 1), ("[1", .endsEarly, 2), (#"{"a""#, .endsEarly, 4),
            (#"{"a":"#, .endsEarly, 5), (#"""#, .endsEarly, 1),
            ("{} x", .bytesAfterTheEnd, 3), ("1 2", .bytesAfterTheEnd, 2), ("{}\u{0}", .bytesAfterTheEnd, 2), ("[1,]", .unexpectedByte, 3),
            (#"{"a":1,}"#, .unexpectedByte, 7), ("{'a':1}", .unexpectedByte, 1),
            ("{a:1}", .unexpectedByte, 1), ("[1 2]", .unexpectedByte, 3), ("nul", .endsEarly, 3), ("nuLl", .unexpectedByte, 2),
            ("True", .unexpectedByte, 0), ("NaN", .unexpectedByte, 0), ("Infinity", .unexpectedByte, 0),
            ("-", .invalidNumber, 1), ("01", .invalidNumber, 1), ("-01", .invalidNumber, 2), ("+1", .unexpectedByte, 0), (".5", .unexpectedByte, 0),
            ("1.", .invalidNumber, 2), ("1.e3", .invalidNumber, 2), ("1e", .invalidNumber, 2),
            ("1e+", .invalidNumber, 3), ("0x10", .bytesAfterTheEnd, 1), (#""\x""#, .invalidEscape, 2), (#""\u00g0""#, .invalidEscape, 5),
            (#""\ud800""#, .loneSurrogate, 7), (#""\udc00""#, .loneSurrogate, 7),
            (#""\ud800\u0041""#, .loneSurrogate, 13), (#""\ud800x""#, .loneSurrogate, 7), ("\"\n\"", .unexpectedByte, 1),
            ("\"\u{0}\"", .unexpectedByte, 1), ("// x\n1", .unexpectedByte, 0), ("\u{FEFF}1", .unexpectedByte, 0),
            (#"{"a":1,"a":1}"#, .memberTwice, 13), (#"{"a":1,"\u0061":1}"#, .memberTwice, 18), (#"[{"a":{"é":1,"\u00e9":1}}]"#, .memberTwice, 25),
        ])
    func refused(_ text: String, _ reason: JSONProblem.Reason, _ offset: Int) {
        let problem = problem(Array(text.utf8))
        #expect(problem?.reason == reason && problem?.offset == offset, "\(String(describing: problem))")
    }

    @Test(
        "Bytes that are not UTF-8 are refused",
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]])
    func notUTF8(_ bytes: [UInt8]) {
        for prefix in ["\"", "\"\\n"] {
            #expect(problem(Array(prefix.utf8) + bytes + [UInt8(ascii: "\"")])?.reason == .invalidUTF8)
        }
    }

    @Test("Every scalar is read, raw and escaped")
    func scalars() throws {
        for value in stride(from: UInt32(0x20), through: 0x10FFFF, by: 97) {
            guard let scalar = Unicode.Scalar(value), scalar != "\"", scalar != "\\" else { continue }
            #expect(try JSONValue(parsing: Array("\"\(scalar)\"".utf8)).string == String(scalar))
            let escaped = String(scalar).utf16.map { unit in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
            #expect(try JSONValue(parsing: Array("\"\(escaped.joined())\"".utf8)).string == String(scalar))
        }
    }

    @Test("Every byte counts wherever it stands in a string, however long that is")
    func bytesInStrings() throws {
        for length in 1..<20 {
            for place in 0..<length {
                for byte in UInt8(0)..<128 where byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") {
                    var text = [UInt8](repeating: UInt8(ascii: "x"), count: length)
                    text[place] = byte
                    let json = [UInt8(ascii: "\"")] + text + [UInt8(ascii: "\"")]
                    if byte < 0x20 {
                        #expect(problem(json) == JSONProblem(.unexpectedByte, at: place + 1))
                    } else {
                        #expect(try JSONValue(parsing: json) == .string(String(decoding: text, as: UTF8.self)))
                    }
                }
                let plain = String(repeating: "x", count: place), rest = String(repeating: "y", count: length - place - 1)
                for (spelled, meant) in [(#"\""#, "\""), (#"\\"#, "\\"), ("\u{e9}", "\u{e9}"), ("\u{1F510}", "\u{1F510}")] {
                    #expect(try JSONValue(parsing: Array("\"\(plain)\(spelled)\(rest)\"".utf8)) == .string(plain + meant + rest))
                }
                #expect(problem(Array("\"\(plain)\"\(rest)z\"".utf8)) == JSONProblem(.bytesAfterTheEnd, at: place + 2))
            }
        }
    }

    @Test("Members are told apart by all of their name")
    func names() throws {
        let names = [
            "", "a", "abcdef", "abcdefg", "abcdefgh", "abcdefgi", "abcdefghi", "\u{e9}", "e\u{301}", "a\u{0}", String(repeating: "n", count: 255),
            String(repeating: "n", count: 256), String(repeating: "n", count: 511),
        ]
        var writer = JSONWriter()
        writer.beginObject()
        for (index, name) in names.enumerated() { writer.member(name, index) }
        writer.endObject()
        let object = try JSONObject(parsing: writer.bytes)
        let claims = try Claims(parsing: writer.bytes)
        for (index, name) in names.enumerated() {
            #expect(object[name]?.number?.integer == Int64(index) && claims[name]?.number?.integer == Int64(index))
        }
        for name in ["abcdefgj", "b", "\u{0}", String(repeating: "n", count: 300)] { #expect(claims[name] == nil) }
        #expect(object["abcdefgj"] == nil && object["b"] == nil && object["\u{0}"] == nil && object[String(repeating: "n", count: 300)] == nil)
        for name in names {
            var twice = JSONWriter()
            twice.beginObject()
            for _ in 0..<2 { twice.member(name, 1) }
            twice.endObject()
            #expect(problem(twice.bytes)?.reason == .memberTwice)
        }
    }

    @Test("Names that begin in the same way are told apart, however they are escaped, and taken for one where they are one")
    func similarNames() throws {
        let same = [#""abcdefgh""#, #""\u0061bcdefgh""#, #""abcdefg\u0068""#], other = [#""abcdefgi""#, #""abcdefg\u0069""#]
        let many = (0..<20).map { #""abcdefg\#($0)""# }
        for filler in [[], Array(many.prefix(14)), many] {
            for one in same {
                for two in other {
                    let object = try JSONObject(parsing: Array("{\((filler + [one, two]).map { "\($0):1" }.joined(separator: ","))}".utf8))
                    #expect(object["abcdefgh"] != nil && object["abcdefgi"] != nil && object.members.count == filler.count + 2)
                }
                for two in same {
                    #expect(problem(Array("{\((filler + [one, two]).map { "\($0):1" }.joined(separator: ","))}".utf8))?.reason == .memberTwice)
                }
            }
        }
    }

    @Test("Nesting has a limit, in arrays and objects")
    func depth() {
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            let nested = { (depth: Int) in
                Array((String(repeating: open, count: depth) + (open == "[" ? "" : "1") + String(repeating: close, count: depth)).utf8)
            }
            #expect(problem(nested(JSONLimit.depth)) == nil)
            #expect(problem(nested(JSONLimit.depth + 1))?.reason == .tooDeep)
            #expect(problem(nested(100_000))?.reason == .tooDeep)
        }
    }

    @Test("Among many members, too, each name is there once")
    func manyMembers() {
        let members = (0..<5000).map { #""k\#($0)":1"# }
        #expect(problem(Array("{\(members.joined(separator: ","))}".utf8)) == nil)
        #expect(problem(Array("{\(members.joined(separator: ",")),\"k77\":1}".utf8))?.reason == .memberTwice)
        #expect(problem(Array(#"{"é":1,"e\#u{301}":2}"#.utf8)) == nil, "other bytes are another name")
    }

    @Test("Numbers keep their spelling and know what they can be")
    func numbers() throws {
        for (text, value, integer) in [
            ("0", 0, 0), ("-0", 0, 0), ("1.0", 1, nil), ("1e3", 1000, nil), ("9223372036854775807", 0x1p63, Int64.max),
            ("9223372036854775808", 9223372036854775808, nil), ("1e9999", nil, nil),
            ("-1e9999", nil, nil), ("1e-9999", 0, nil), ("0.1", 0.1, nil),
        ] as [(String, Double?, Int64?)] {
            let number = try #require(JSONValue(parsing: Array(text.utf8)).number)
            #expect((number.spelling, number.value, number.integer) == (text, value, integer))
        }
    }

    @Test("A claim holds a text as itself or as an element, and in no other way")
    func holds() throws {
        for (json, expected) in [
            (#""admin""#, true), (#"["dev","admin"]"#, true), (#""administrator""#, false), (#"{"admin":true}"#, false), ("null", false),
            (#"[["admin"]]"#, false), (#"["Admin"]"#, false), ("[]", false),
        ] {
            #expect(try JSONValue(parsing: Array(json.utf8)).holds("admin") == expected)
        }
        #expect(try JSONValue(parsing: Array("[3]".utf8)).holds("3") && JSONValue(parsing: Array("true".utf8)).holds("true"))
        #expect(try !JSONValue(parsing: Array("\"e\u{301}\"".utf8)).holds("\u{E9}"))
    }

    @Test("What is written can be read and is the same")
    func writer() throws {
        let bytes = JSONWriter.object { writer in
            writer.member("text", "a\"b\\c\n\r\t\u{0}\u{1F}\u{7F}é😀/")
            writer.member("none", nil as String?)
            writer.member("number", -7)
            writer.member("flag", true)
            writer.member("list", ["a", "b"])
            writer.member("object", JSONObject())
            writer.name("array")
            writer.beginArray()
            writer.integer(1)
            writer.beginObject()
            writer.endObject()
            writer.beginArray()
            writer.endArray()
            writer.raw(Array("1.50".utf8))
            writer.null()
            writer.endArray()
        }
        let text =
            #"{"text":"a\"b\\c\n\r\t\u0000\u001f\#u{7F}é😀/","none":null,"number":-7,"flag":true,"list":["a","b"],"object":{},"array":[1,{},[],1.50,null]}"#
        #expect(String(decoding: bytes, as: UTF8.self).isIdentical(to: text))
        var again = JSONWriter()
        again.value(try JSONValue(parsing: bytes))
        #expect(again.bytes == bytes)
    }
}
