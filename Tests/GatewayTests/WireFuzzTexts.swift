// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What fuzzing begins with: good texts, words that matter to a parser, and what was found.
enum WireFuzzTexts {
    static let requests: [[UInt8]] = [
        "GET / HTTP/1.0\r\nhost: x\r\nX-Blank: \r\nContent-Length: 1\t \r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nGET /a/b;c=d?e=f&g HTTP/1.0\r\nhost: x.example:8080\r\nX-Empty:\r\nX-Blank: \t \r\nConnection: keep-alive\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close, X-A\r\nX-A: b\r\n\r\n", "GET http://x/a?b HTTP/1.1\r\nHost: x:80\r\n\r\n",
        "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "DELETE /ü HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=\u{e4}\r\nAuthorization: Bearer abc.def.ghi\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    ].map { Array($0.utf8) }

    static let responses: [[UInt8]] = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\nTrailer: X\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\t\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n", "HTTP/1.1 304 \r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 500\r\nContent-Type: text/plain\r\n\r\nabc",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ].map { Array($0.utf8) }

    static let chunked: [[UInt8]] = [
        "0\r\nTransfer-Encoding:0xast\r\n\r\n\r\n\r\n", "3\r\nabc\r\n0\r\nContent-Length:+1\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n", "0\r\n\r\n", "a;b=c;d=\"e\\\"f\"\r\n0123456789\r\n1 ; x = y\r\nz\r\n0;last\r\n\r\n",
        "1;a=\"\\\\b\";c\r\nz\r\n2;d=e;f\r\nzz\r\n0;last\r\n\r\n", "3\r\nabc\r\n0\r\nX: y\r\nDate: z \r\n\r\nGET /",
        "00A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
    ].map { Array($0.utf8) }

    static let paths: [[UInt8]] = [
        "/", "/a/b/c", "/a/./b/../c/", "/a//b", "/%61/%2e%2E/%2f", "/a%2Fb/%25/%7e", "/a;b=c/..;/d", "/\"<>[]^`{|}", "/%252e/%C3%BC", "/..",
        "/a/b/../..",
    ].map { Array($0.utf8) }

    static let hosts: [[UInt8]] = [
        "x", "a.example:8080", "127.0.0.1", "[::1]:80", "[2001:db8::1.2.3.4]", "[1:2:3:4:5:6:7:8]", "a%20b", "[::ffff:0:0]",
    ].map { Array($0.utf8) }

    static let words: [[UInt8]] = [
        "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "\u{b}", "\u{7f}", "\u{80}", "\r\n ", "\r\n\t", "\r\n\r\n", "HTTP/1.0", "HTTP/1.1",
        "GET ", "HEAD ", "http://x", "https://", "?", "#", "*", "close", "chunked",
        "\r\nContent-Length: 1", "\r\nContent-Length: 0", "\r\nTransfer-Encoding: chunked", "\r\nTransfer-Encoding: gzip, chunked",
        "\r\nConnection: close", "\r\nConnection: keep-alive",
        "\r\nConnection: upgrade", "\r\nUpgrade: h2c", "\r\nHost: y", "\r\nContent_Length: 1", "\r\nExpect: 100-continue", "\r\nX-A: b", "0",
        "9223372036854775807", "%", "@", "[", "]", "\"", "\\", "204", "304", "100",
    ].map { Array($0.utf8) }

    static let chunkWords: [[UInt8]] = [
        ";a=b", ";a=\"b\"", "=\"", "\\\"", "0x", "ffffffffffffffff", "00000", "a\r\n", "0\r\n", "1\r\nx\r\n", ";", "=", "\r\nX: y",
    ].map { Array($0.utf8) }

    static let pathWords: [[UInt8]] = [
        "/", "//", ".", "..", "/.", "/..", "/../", "/./", ";", "%", "%2", "%2e", "%2E", "%2f", "%2F", "%25", "%5c", "%00", "%3b", "%3B", "%41", "%7E",
        "%c3", "%20", "%25%32%65", "\\", " ", "?", "#", "[", "\"", "|", "2e", "\u{e4}", "\u{1}",
    ].map { Array($0.utf8) }

    static let hostWords: [[UInt8]] = [
        ":", "::", "[", "]", ".", "1.2.3.4", "0", "00", "ffff", "65535", "65536", ":80", "%", "%41", "%4", ",", ";", "@", " ", "_", "\u{e4}", "/",
    ].map { Array($0.utf8) }
}
