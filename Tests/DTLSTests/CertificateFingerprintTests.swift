// SPDX-License-Identifier: Apache-2.0

import DTLS
import SansIO
import Testing

@Suite("Certificate fingerprints, RFC 8122 section 5")
struct CertificateFingerprintTests {
  @Test("The attribute's value comes back as it was, in upper case")
  func roundTrip() throws {
    let certificate = try DTLSCertificate.generate()
    for function in CertificateFingerprint.HashFunction.allCases {
      let fingerprint = try #require(certificate.fingerprint(by: function))
      let text = fingerprint.attributeValue
      #expect(text.hasPrefix(function.rawValue + " "))
      #expect(try CertificateFingerprint(parsing: text) == fingerprint)
      #expect(try CertificateFingerprint(parsing: text.lowercased()) == fingerprint)
      #expect(try CertificateFingerprint(parsing: text.uppercased()) == fingerprint)
    }
    #expect(certificate.fingerprint.hashFunction == .sha256)
  }

  @Test("Every prefix, every damaged character and unknown hashes are refused")
  func refused() throws {
    let text = try DTLSCertificate.generate().fingerprint.attributeValue
    for count in 0..<text.count {
      #expect(throws: ParseError.self) { try CertificateFingerprint(parsing: String(text.prefix(count))) }
    }
    for offset in text.indices where text[offset] != " " {
      var damaged = text
      damaged.replaceSubrange(offset...offset, with: "+")
      #expect(throws: ParseError.self) { try CertificateFingerprint(parsing: damaged) }
    }
    let bad = [
      "md5 " + text.dropFirst(8), "sha-512 " + text.dropFirst(8), text + ":AA", text + " x",
      String(repeating: "A", count: 100_000), "sha-256 " + String(repeating: ":", count: 31), "sha-256  ",
    ]
    for value in bad { #expect(throws: ParseError.self) { try CertificateFingerprint(parsing: value) } }
  }
}
