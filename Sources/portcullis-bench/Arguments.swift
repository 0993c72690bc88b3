// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import BenchHarness

/// `250ms 5s 10m 12h`, more than nothing; as in the gateway's configuration.
struct DurationArgument: ExpressibleByArgument {
    let nanoseconds: Int64

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [Substring: Int64] = ["ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000]
        guard let count = Int64(digits), count > 0, let unit = units[argument[digits.endIndex...]] else { return nil }
        let product = count.multipliedReportingOverflow(by: unit)
        guard !product.overflow else { return nil }
        nanoseconds = product.partialValue
    }
}

/// Requests a second.
struct RateArgument: ExpressibleByArgument {
    /// More than any event loop sends.
    static let greatest = 10_000_000.0

    let perSecond: Double

    init?(argument: String) {
        // Double's own reading would take 0x1p3 and nan, too.
        guard argument.utf8.allSatisfy({ $0 &- 0x30 < 10 || $0 == UInt8(ascii: ".") }), let rate = Double(argument), rate >= 0.001,
            rate <= Self.greatest
        else { return nil }
        perSecond = rate
    }
}

struct URLArgument: ExpressibleByArgument {
    let text: String

    init?(argument: String) { text = argument }

    /// - Parameter option: what it was given as, for the message, which never has the text.
    func target(_ option: String) throws -> Target {
        do throws(Target.Problem) {
            return try Target(text)
        } catch {
            throw ValidationError("\(option) \(error.description).")
        }
    }
}

/// The tokens of a file; what is wrong with it ends the command.
func readTokens(_ path: String) throws -> [String] {
    do throws(TokenFile.Problem) {
        return try TokenFile.read(path)
    } catch {
        throw Exit.failure(error.isAbsent ? Exit.unavailable : Exit.usage, error.description)
    }
}
