// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Gateway
import Logging
import Tokens

/// One JSON line on standard output for each log message, through the same writer as the access log, so that lines never mix.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let level: LogLevel
    /// Of a logger whose owner has set one for it alone.
    private var ownLevel: Logger.Level?
    private let output: LineWriter

    init(label: String, level: LogLevel, output: LineWriter) {
        self.label = label
        self.level = level
        self.output = output
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? level.level }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        var line = JSONWriter.object { json in
            json.member("time", ClockText.now())
            json.member("level", event.level.rawValue)
            json.member("logger", label)
            json.member("message", event.message.description)
            for (key, value) in all.sorted(by: { $0.key < $1.key }) { json.member(key, value.description) }
        }
        line.append(UInt8(ascii: "\n"))
        output.write(line)
    }
}
