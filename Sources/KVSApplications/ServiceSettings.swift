// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO

/// The flags that name a signaling channel and who joins it, as they were typed.
public struct ServiceFlags: Sendable {
  var channel: String?
  var endpointURL: String?
  var region: String?
  var accessKey: String?
  var secretKey: String?
  var sessionToken: String?
  var caFile: String?

  /// Carries flags as they were typed.
  public init(
    channel: String? = nil, endpointURL: String? = nil, region: String? = nil, accessKey: String? = nil,
    secretKey: String? = nil, sessionToken: String? = nil, caFile: String? = nil
  ) {
    self.channel = channel
    self.endpointURL = endpointURL
    self.region = region
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.sessionToken = sessionToken
    self.caFile = caFile
  }
}

extension SignalingClient.Configuration {
  /// The C SDK's default region.
  private static let defaultRegion = "us-west-2"

  /// A session with the channel that flags and settings name.
  ///
  /// - Throws: ``UsageError``.
  init(_ flags: ServiceFlags, _ settings: Settings, role: SignalingRole) throws(UsageError) {
    let channel = try settings.value(.channel, flag: flags.channel) {
      SignalingMessage.isIdentifier($0) ? $0 : nil
    }
    guard let channel else { throw UsageError.missing(.channel) }
    self.init(
      channelName: channel, role: role,
      region: try settings.value(.region, flag: flags.region, ServiceRegion.init)?.name ?? Self.defaultRegion,
      credentials: AWSCredentials(
        accessKeyID: try settings.requiredText(.accessKey, flag: flags.accessKey),
        secretAccessKey: Secret(try settings.requiredText(.secretKey, flag: flags.secretKey)),
        sessionToken: settings.text(.sessionToken, flag: flags.sessionToken).map { Secret($0) }))
    endpointURL = try settings.value(.endpointURL, flag: flags.endpointURL, Self.endpoint)
    certificateAuthorityFile = settings.text(.caFile, flag: flags.caFile)
    proxy = try ProxySettings.current()
  }

  /// Whether the service is a stand-in on this host. Its other clients are here as well, and some of them (browsers
  /// without any network) are reached by loopback only.
  var isLocal: Bool {
    let host = endpointURL.flatMap { ServiceURL($0) }?.host
    return host.map { $0 == "localhost" || IPAddress($0)?.isLoopback == true } ?? false
  }

  private static func endpoint(_ text: String) -> String? {
    guard let url = ServiceURL(text), ["http", "https"].contains(url.scheme), url.query == nil else {
      return nil
    }
    return text
  }
}
