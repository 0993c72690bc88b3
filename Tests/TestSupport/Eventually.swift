// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Something that a test waited for did not happen in time.
package struct NotInTime: Error, CustomStringConvertible {
    package let description: String
    package init(description: String) { self.description = description }
}

/// Waits until `condition` holds, by asking again every few milliseconds; an error that it throws counts as "not yet".
///
/// - Parameters:
///   - what: names the condition in the failure.
///   - within: how long to wait at most; generous, as it is only used up by a failure.
package func eventually(
    _ what: String = "the condition", within: Duration = .seconds(10), isolation: isolated (any Actor)? = #isolation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + within
    var problem = ""
    while true {
        do {
            if try await condition() { return }
            problem = ""
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            problem = " (\(error))"
        }
        guard ContinuousClock.now < deadline else { throw NotInTime(description: "\(what): not within \(within)\(problem)") }
        try await Task.sleep(for: .milliseconds(5))
    }
}
