// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// ECDSA signatures in their two spellings: JOSE has r and s one after the other, each as long as a coordinate (RFC 7518 §3.4);
/// OpenSSL has a DER sequence of two integers (RFC 3279 §2.2.3).
enum ECDSASignature {
    /// Nil for another length, and where r or s is 0: whoever forgets that accepts a signature of nothing for everything.
    /// That they are below the group's order is OpenSSL's check.
    static func der(raw: UnsafeRawBufferPointer, coordinateSize size: Int) -> [UInt8]? {
        guard raw.count == 2 * size else { return nil }
        let r = raw[..<size].drop { $0 == 0 }
        let s = raw[size...].drop { $0 == 0 }
        guard let rLead = r.first, let sLead = s.first else { return nil }
        let (rCount, sCount) = (r.count + (rLead < 0x80 ? 0 : 1), s.count + (sLead < 0x80 ? 0 : 1))
        let body = 4 + rCount + sCount
        var der: [UInt8] = []
        der.reserveCapacity(body + 3)
        der.append(0x30)
        if body >= 0x80 { der.append(0x81) }
        der.append(UInt8(body))
        for (number, count) in [(r, rCount), (s, sCount)] {
            der.append(0x02)
            der.append(UInt8(count))
            if count > number.count { der.append(0) }
            der.append(contentsOf: number)
        }
        return der
    }

    /// Of a signature that OpenSSL has just made; nil if it is none.
    static func raw(der: [UInt8], coordinateSize size: Int) -> [UInt8]? {
        var rest = der[...]
        guard rest.popFirst() == 0x30, var length = rest.popFirst() else { return nil }
        if length == 0x81 {
            guard let long = rest.popFirst() else { return nil }
            length = long
        }
        guard Int(length) == rest.count else { return nil }
        var raw: [UInt8] = []
        raw.reserveCapacity(2 * size)
        for _ in 0..<2 {
            guard rest.popFirst() == 0x02, let count = rest.popFirst(), Int(count) <= rest.count else { return nil }
            let number = rest.prefix(Int(count)).drop { $0 == 0 }
            rest = rest.dropFirst(Int(count))
            guard number.count <= size else { return nil }
            raw.append(contentsOf: repeatElement(0, count: size - number.count))
            raw.append(contentsOf: number)
        }
        return rest.isEmpty ? raw : nil
    }
}
