// SPDX-License-Identifier: Apache-2.0

internal import DTLS
internal import ICE
internal import SDP
internal import SansIO

/// The peer's ICE and DTLS parameters, as one section gives them.
struct RemoteTransport {
  let credentials: ICECredentials
  let fingerprints: [CertificateFingerprint]
  let setup: SetupRole?
  /// Names the DTLS association (RFC 8842 §4); most peers leave it out.
  let tlsID: String?

  /// Reads and judges the parameters that hold for a section.
  init(of description: SessionDescription, section: Int) throws(NegotiationError) {
    let attributes = description.transportAttributes(ofMedia: section)
    credentials = try Self.credentials(attributes, section: section)
    fingerprints = try Self.fingerprints(attributes, section: section)
    setup = attributes.setup
    let named = description.media[section].attributes + description.attributes
    tlsID = named.first { $0.name == "tls-id" }?.value
  }

  /// Lengths and characters by RFC 8839 §5.4. Characters beyond ice-chars occur in the wild; what would break
  /// the USERNAME of a check is refused.
  private static func credentials(
    _ attributes: TransportAttributes, section: Int
  ) throws(NegotiationError) -> ICECredentials {
    guard let fragment = attributes.iceUsernameFragment, let password = attributes.icePassword else {
      throw .missingICECredentials(section: section)
    }
    let isFragmentValid = (4...256).contains(fragment.utf8.count) && fragment.utf8.allSatisfy(isICECharacter)
    let isPasswordValid =
      (22...256).contains(password.unredacted.utf8.count)
      && password.unredacted.utf8.allSatisfy(isICECharacter)
    guard isFragmentValid, isPasswordValid else { throw .invalidICECredentials(section: section) }
    return ICECredentials(usernameFragment: fragment, password: password)
  }

  private static func isICECharacter(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: ":")
  }

  /// SHA-256 and stronger count; unknown functions beside them are passed over (RFC 8122 §5).
  private static func fingerprints(
    _ attributes: TransportAttributes, section: Int
  ) throws(NegotiationError) -> [CertificateFingerprint] {
    guard !attributes.fingerprints.isEmpty else { throw .missingFingerprint(section: section) }
    var strong: [CertificateFingerprint] = []
    for attribute in attributes.fingerprints {
      typealias HashFunction = CertificateFingerprint.HashFunction
      guard HashFunction(rawValue: attribute.hashFunction.lowercased()) != nil else { continue }
      guard let fingerprint = try? CertificateFingerprint(parsing: attribute.attributeValue) else {
        throw .malformedFingerprint(section: section)
      }
      switch fingerprint.hashFunction {
      case .sha1, .sha224: continue
      case .sha256, .sha384, .sha512: strong.append(fingerprint)
      }
    }
    guard !strong.isEmpty else { throw .unsupportedFingerprint(section: section) }
    return strong
  }
}

/// Who begins the handshake (RFC 8842 §5, RFC 4145 §4.1).
enum SetupNegotiation {
  /// Our part as answerer. `actpass`, and an offer that says nothing, leave us the choice: we wait, since the
  /// server chooses the SRTP profile.
  ///
  /// In an association that exists the parts are settled, whatever the peer says now (RFC 8842 §5.5).
  static func answererRole(
    offer: SetupRole?, established: DTLSRole?, section: Int
  ) throws(NegotiationError) -> DTLSRole {
    guard offer != .holdconn else { throw .invalidSetup(section: section) }
    if let established { return established }
    return offer == .passive ? .client : .server
  }

  /// Our part by the answer that we wrote.
  static func role(
    answered: SetupRole?, offer: SetupRole?, established: DTLSRole?, section: Int
  ) throws(NegotiationError) -> DTLSRole {
    switch (offer, answered) {
    case (.holdconn, _): throw .invalidSetup(section: section)
    case (_, .active) where offer != .active || established == .client: return .client
    case (_, .passive) where offer != .passive || established == .server: return .server
    default: throw .invalidSetup(section: section)
    }
  }

  /// Our part as offerer, by the peer's answer; in an association that exists it is settled.
  static func offererRole(
    offer: SetupRole?, answer: SetupRole?, established: DTLSRole?, section: Int
  ) throws(NegotiationError) -> DTLSRole {
    if let established, answer != .holdconn { return established }
    switch (offer, answer) {
    case (.actpass, .active), (.passive, .active): return .server
    case (.actpass, .passive), (.active, .passive): return .client
    default: throw .invalidSetup(section: section)
    }
  }

  /// The attribute of an answer by someone with that part.
  static func attribute(_ role: DTLSRole) -> SetupRole {
    switch role {
    case .client: .active
    case .server: .passive
    }
  }
}
