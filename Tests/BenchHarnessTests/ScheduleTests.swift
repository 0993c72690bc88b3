// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import BenchHarness

@Suite("When requests are due, and which")
struct ScheduleTests {
    @Test("requests are due at even distances from the start, and no error adds up", arguments: [0.5, 3, 1000, 77_777])
    func distances(rate: Double) {
        let schedule = Schedule(start: 1_000, rate: rate)
        #expect(schedule.time(0) == 1_000)
        let seconds = 3600
        #expect(schedule.time(Int(rate * Double(seconds))) == 1_000 + Int64(seconds) * 1_000_000_000)
        #expect(schedule.time(7) - schedule.time(6) == Int64((7e9 / rate).rounded()) - Int64((6e9 / rate).rounded()))
    }

    @Test("several loops together have one schedule: each request once")
    func loops() {
        let whole = Schedule(start: 5, rate: 900)
        let parts = (0..<3).map { Schedule(start: 5, rate: 900, loop: $0, of: 3) }
        let times = (0..<100).flatMap { number in parts.map { $0.time(number) } }.sorted()
        #expect(times == (0..<300).map { whole.time($0) })
        #expect(parts[2].position(4) == 14)
    }

    @Test("a mix keeps to its weights, is the same in every run, and another for each loop")
    func weights() {
        var mix = Mix(weights: [8, 1, 1], seed: 0), again = Mix(weights: [8, 1, 1], seed: 0), other = Mix(weights: [8, 1, 1], seed: 1)
        let drawn = (0..<10_000).map { _ in mix.next() }
        let drawnAgain = (0..<10_000).map { _ in again.next() }
        let drawnByAnother = (0..<10_000).map { _ in other.next() }
        #expect(drawn == drawnAgain && drawn != drawnByAnother)
        let counts = (0..<3).map { shape in drawn.count { $0 == shape } }
        #expect(abs(counts[0] - 8000) < 200 && abs(counts[1] - 1000) < 120 && abs(counts[2] - 1000) < 120, "\(counts)")
    }

    @Test("each request of a mix meets each token, whatever their numbers are")
    func noPeriod() {
        var mix = Mix(weights: [1, 1], seed: 0)
        var met: Set<[Int]> = []
        for number in 0..<1000 { met.insert([mix.next(), number % 10]) }
        #expect(met.count == 20)
    }

    @Test("requests that wait leave in the order in which they came, also when the line has grown")
    func waitingLine() {
        var line = WaitingLine()
        var random = SystemRandomNumberGenerator()
        var expected: [Int64] = []
        for number in 0..<Int64(5000) {
            line.append(Arrival(intended: number, choice: RequestChoice(shape: 0, token: 0)))
            expected.append(number)
            if Int.random(in: 0..<3, using: &random) == 0 {
                let first = line.first?.intended
                let popped = line.popFirst()?.intended
                let next = expected.removeFirst()
                #expect(first == next && popped == next)
            }
            #expect(line.count == expected.count)
        }
        while let arrival = line.popFirst() {
            let next = expected.removeFirst()
            #expect(arrival.intended == next)
        }
        #expect(expected.isEmpty && line.isEmpty && line.first == nil)
    }
}
