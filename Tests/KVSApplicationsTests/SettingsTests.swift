// SPDX-License-Identifier: Apache-2.0

import Configuration
import FoundationEssentials
import KinesisVideo
import LocalKinesisVideo
import Logging
import MediaFiles
import SansIO
import Testing
import WebRTC

@testable import KVSApplications

extension Settings {
  fileprivate init(_ environment: [String: String], file: [String: String]? = nil) {
    self.init(
      environment: EnvironmentVariablesProvider(environmentVariables: environment),
      file: file.map { EnvironmentVariablesProvider(environmentVariables: $0) })
  }
}

/// The sentence that `body` fails with.
private func sentence(_ body: () throws -> Void) -> String? {
  do { try body() } catch { return "\(error)" }
  return nil
}

@Suite("Settings come from flags, the environment, a file and defaults")
struct SettingsTests {
  @Test("The flag wins over the environment, that over the file, that over the default")
  func order() throws {
    let name = "KVS_WEBRTC_MAX_VIEWERS"
    let all = Settings([name: "2"], file: [name: "3"])
    let file = Settings([:], file: [name: "3"])
    #expect(try all.number(.maxViewers, flag: "1", in: 1...1000, default: 10) == 1)
    #expect(try all.number(.maxViewers, in: 1...1000, default: 10) == 2)
    #expect(try file.number(.maxViewers, in: 1...1000, default: 10) == 3)
    #expect(try Settings([:]).number(.maxViewers, in: 1...1000, default: 10) == 10)
  }

  @Test(
    "Other tools' names are understood",
    arguments: [
      (Setting.channel, "AWS_KVS_CHANNEL_NAME"), (.endpointURL, "AWS_ENDPOINT_URL_KINESIS_VIDEO"),
      (.endpointURL, "AWS_ENDPOINT_URL"), (.region, "AWS_REGION"), (.region, "AWS_DEFAULT_REGION"),
      (.accessKey, "AWS_ACCESS_KEY_ID"), (.secretKey, "AWS_SECRET_ACCESS_KEY"),
      (.sessionToken, "AWS_SESSION_TOKEN"), (.logLevel, "AWS_KVS_LOG_LEVEL"),
      (.maxViewers, "AWS_MAX_VIEWER_NUM"), (.metrics, "METRIC_PRINT_ENABLED"),
    ])
  func aliases(setting: Setting, name: String) {
    #expect(Settings([name: "text"]).text(setting) == "text")
    #expect(Settings([name: "text", setting.environmentNames[0]: "own"]).text(setting) == "own")
  }

  @Test("A setting's own names follow from its flag")
  func names() {
    let setting = Setting("max-viewers", aliases: ["OTHER"], expects: "a number")
    #expect(setting.flag == "--max-viewers")
    #expect(setting.environmentNames == ["KVS_WEBRTC_MAX_VIEWERS", "OTHER"])
  }

  @Test("An alias in the environment wins over the own name in the file; empty variables count as not there")
  func sources() {
    #expect(Settings(["AWS_REGION": "a"], file: ["KVS_WEBRTC_REGION": "b"]).text(.region) == "a")
    #expect(Settings(["KVS_WEBRTC_REGION": "", "AWS_REGION": "a"]).text(.region) == "a")
    #expect(Settings(["KVS_WEBRTC_REGION": ""]).text(.region) == nil)
  }

  @Test("A wrong value's sentence names where it came from and what is expected")
  func origins() {
    for wrong in ["many", "0", "1001", "-1", "1.5", "99999999999999999999"] {
      let number = { (settings: Settings, flag: String?) in
        sentence { _ = try settings.number(.maxViewers, flag: flag, in: 1...1000, default: 10) }
      }
      let expected = "is not valid: expected a whole number from 1 to 1000"
      #expect(number(Settings([:]), wrong) == "--max-viewers \(expected)")
      #expect(number(Settings(["AWS_MAX_VIEWER_NUM": wrong]), nil) == "AWS_MAX_VIEWER_NUM \(expected)")
      #expect(
        number(Settings([:], file: ["KVS_WEBRTC_MAX_VIEWERS": wrong]), nil)
          == "KVS_WEBRTC_MAX_VIEWERS \(expected)")
    }
  }

  @Test("A missing setting's sentence names the flag, the variables and what is expected")
  func missing() {
    let told = sentence { _ = try Settings([:]).requiredText(.accessKey) }
    #expect(
      told == "--access-key (or KVS_WEBRTC_ACCESS_KEY or AWS_ACCESS_KEY_ID) is missing: give an access key id"
    )
  }

  @Test("A switch takes the usual words")
  func switches() throws {
    for word in ["1", "true", "TRUE", "yes", "ON"] {
      #expect(try Settings(["METRIC_PRINT_ENABLED": word]).isOn(.metrics, flag: false))
    }
    for word in ["0", "false", "no", "Off"] {
      #expect(try !Settings(["METRIC_PRINT_ENABLED": word]).isOn(.metrics, flag: false))
      #expect(try Settings(["METRIC_PRINT_ENABLED": word]).isOn(.metrics, flag: true))
    }
    #expect(try !Settings([:]).isOn(.metrics, flag: false))
    let told = sentence { _ = try Settings(["METRIC_PRINT_ENABLED": "maybe"]).isOn(.metrics, flag: false) }
    #expect(told == "METRIC_PRINT_ENABLED is not valid: expected true or false")
  }

  @Test("A list takes commas and repeated flags, and all of its parts have to be right")
  func lists() throws {
    let settings = Settings(["KVS_WEBRTC_ALLOW_PEER": "10.0.0.0/8, 192.168.1.0/24"])
    let parse: (String) -> String? = { $0.contains("/") ? $0 : nil }
    #expect(try settings.list(.allowPeer, parse) == ["10.0.0.0/8", "192.168.1.0/24"])
    #expect(try settings.list(.allowPeer, flags: ["a/1", "b/2,c/3"], parse) == ["a/1", "b/2", "c/3"])
    #expect(try Settings([:]).list(.allowPeer, parse).isEmpty)
    #expect(
      sentence { _ = try settings.list(.allowPeer, flags: ["a/1,"], parse) }?.contains("--allow-peer") == true
    )
  }

  @Test(
    "Port ranges are one port or two with a dash, in order",
    arguments: [
      ("50000", 50_000...50_000), ("50000-50100", 50_000...50_100), ("1-65535", 1...65_535), ("2-1", nil),
      ("0", nil),
      ("0-5", nil), ("1-65536", nil), ("1-2-3", nil), ("", nil), ("-", nil), ("a-b", nil), ("5-", nil),
    ] as [(String, ClosedRange<UInt16>?)])
  func portRanges(text: String, ports: ClosedRange<UInt16>?) {
    #expect(NetworkLoop.Configuration.portRange(text) == ports)
  }

  @Test("A camera's network is what flags and environment say")
  func network() throws {
    let plain = try NetworkLoop.Configuration(NetworkFlags(), Settings([:]), includesLoopback: true)
    #expect(plain.includesLoopback && plain.ports == nil && plain.advertisedAddresses.isEmpty)
    #expect(plain.relaySpareCount == 1 && plain.trustRoots == .system)
    let told = try NetworkLoop.Configuration(
      NetworkFlags(
        udpPorts: "50000-50009", advertiseAddress: "203.0.113.9,2001:db8::9", icePolicy: "relay",
        relaySpare: "0"),
      Settings(["AWS_KVS_CACERT_PATH": "/ca.pem"]), includesLoopback: false)
    #expect(told.ports == 50_000...50_009 && !told.includesLoopback)
    #expect("\(told.advertisedAddresses)" == "[203.0.113.9, 2001:db8::9]")
    #expect("\(told.iceTransportPolicy)" == "relay")
    #expect(told.relaySpareCount == 0 && told.trustRoots == .file("/ca.pem"))
    for flags in [
      NetworkFlags(udpPorts: "x"), NetworkFlags(advertiseAddress: "here"), NetworkFlags(icePolicy: "Relay"),
      NetworkFlags(relaySpare: "5"), NetworkFlags(relaySpare: "-1"),
    ] {
      #expect(throws: UsageError.self) {
        _ = try NetworkLoop.Configuration(flags, Settings([:]), includesLoopback: true)
      }
    }
  }

  @Test("The proxy of the environment is taken; one that cannot be used ends the program")
  func proxies() throws {
    let proxy = try ProxySettings.current(
      environment: ["https_proxy": "http://proxy.example:3128", "no_proxy": "localhost"])
    #expect(proxy.server(forHost: "kinesisvideo.eu-west-1.amazonaws.com", port: 443)?.port == 3128)
    #expect(proxy.server(forHost: "localhost", port: 443) == nil)
    #expect(try ProxySettings.current(environment: [:]).server == nil)
    let told = sentence { _ = try ProxySettings.current(environment: ["https_proxy": "socks5://proxy"]) }
    #expect(told?.contains("https_proxy") == true)
  }

  @Test("servers of others are named by URL, with user and password where they relay")
  func otherICEServers() throws {
    let flags = RelayFlags(
      iceServers: ["stun:192.0.2.1:3478", "turn:relay.example:443?transport=tcp,camera,a,b"])
    let servers = try flags.otherICEServers(Settings([:]))
    #expect(servers.map(\.urls) == [["stun:192.0.2.1:3478"], ["turn:relay.example:443?transport=tcp"]])
    #expect(servers.last?.username == "camera")
    #expect(servers.last?.credential?.unredacted == "a,b")
    let variable = Settings(["KVS_WEBRTC_ICE_SERVER": "stun:192.0.2.1 stun:192.0.2.2"])
    #expect(try RelayFlags().otherICEServers(variable).count == 2)
    for text in [
      "stun:", "turn:192.0.2.1", "turn:192.0.2.1,user", "turn:192.0.2.1,,", "192.0.2.1", "stun:192.0.2.1,u,p",
    ] {
      #expect(
        sentence { _ = try RelayFlags(iceServers: [text]).otherICEServers(Settings([:])) }?
          .contains("--ice-server") == true, "\(text)")
    }
  }

  @Test("The stand-in has a TURN server unless it is told not to; ports that nobody named may be others")
  func relays() throws {
    let plain = try #require(try TURNServer.Configuration.make(RelayFlags(), Settings([:])))
    #expect((plain.port, plain.tlsPort, plain.mayUseOtherPorts) == (3478, 5349, true))
    let named = try #require(
      try TURNServer.Configuration.make(
        RelayFlags(turnPort: "0", allowPeers: ["10.0.0.0/8"], advertiseAddress: "203.0.113.9"),
        Settings(["KVS_WEBRTC_TURN_TLS_PORT": "443"])))
    #expect((named.port, named.tlsPort, named.mayUseOtherPorts) == (0, 443, false))
    #expect("\(named.allowedPrefixes)" == "[10.0.0.0/8]")
    #expect("\(named.advertisedAddresses)" == "[203.0.113.9]")
    let none = try TURNServer.Configuration.make(RelayFlags(noTURN: true), Settings([:]))
    #expect(none == nil)
    for flags in [
      RelayFlags(turnPort: "x"), RelayFlags(turnTLSPort: "65536"), RelayFlags(allowPeers: ["10.0.0.0/33"]),
      RelayFlags(relayAddress: "here"), RelayFlags(advertiseAddress: "203.0.113.9,"),
    ] {
      #expect(throws: UsageError.self) { try TURNServer.Configuration.make(flags, Settings([:])) }
    }
  }

  @Test("A file of NAME=value lines is read; one that is not there is one sentence")
  func file() async throws {
    try await TemporaryFolder.use { folder in
      let path = folder.path("settings.env")
      try Data("KVS_WEBRTC_PORT=8123\n# a remark\nAWS_KVS_CHANNEL_NAME=door\n".utf8).write(
        to: URL(filePath: path))
      let settings = try await Settings.load(configFile: path)
      #expect(try settings.number(.port, in: 0...65_535, default: 8080) == 8123)
      #expect(settings.text(.channel) == "door")
      await #expect(throws: UsageError.self) { try await Settings.load(configFile: path + ".missing") }
    }
  }

  @Test("Log levels are swift-log's names or the C SDK's numbers")
  func logLevels() throws {
    for level in Logger.Level.allCases {
      #expect(try LogSetup.level(Settings([:]), flag: level.rawValue) == level)
      #expect(try LogSetup.level(Settings([:]), flag: level.rawValue.uppercased()) == level)
    }
    let numbers: [Logger.Level] = [.trace, .debug, .info, .warning, .error, .critical, .critical]
    for (index, level) in numbers.enumerated() {
      #expect(try LogSetup.level(Settings(["AWS_KVS_LOG_LEVEL": "\(index + 1)"]), flag: nil) == level)
    }
    #expect(try LogSetup.level(Settings([:]), flag: nil) == .info)
    for wrong in ["0", "8", "loud", ""] {
      let told = sentence { _ = try LogSetup.level(Settings([:]), flag: wrong) }
      #expect(told?.hasPrefix("--log-level is not valid: expected trace, debug") == true)
    }
  }
}

@Suite("Programs check their settings before they do anything")
struct ProgramSettingsTests {
  private static let keys = ["AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary-secret"]
  private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private static func flags(channel: String? = nil, video: String? = nil) -> MasterFlags {
    MasterFlags(service: ServiceFlags(channel: channel), video: video)
  }

  private static func master(
    _ environment: [String: String], flags: MasterFlags = flags(channel: "door")
  ) async -> String? {
    do {
      _ = try await MasterProgram(flags: flags, settings: Settings(environment), logger: quiet)
      return nil
    } catch { return "\(error)" }
  }

  @Test("A master with keys and a channel is content")
  func enough() async {
    let told = await Self.master(Self.keys)
    #expect(told == nil)
  }

  @Test(
    "A wrong value is named by its origin",
    arguments: [
      ("KVS_WEBRTC_REGION", "no region"), ("AWS_REGION", "EU"), ("AWS_ENDPOINT_URL", "ftp://host"),
      ("AWS_ENDPOINT_URL", "http://"), ("KVS_WEBRTC_CREATE_CHANNEL", "perhaps"),
      ("METRIC_PRINT_ENABLED", "2"), ("KVS_WEBRTC_MAX_VIEWERS", "0"),
    ])
  func wrongValues(name: String, value: String) async {
    let told = await Self.master(Self.keys.merging([name: value]) { $1 })
    #expect(told?.hasPrefix("\(name) is not valid: expected ") == true, "\(told ?? "nothing")")
  }

  @Test("Keys and channel have to be given, and the secret is never told")
  func missing() async {
    for name in Self.keys.keys {
      var environment = Self.keys
      environment[name] = nil
      let told = await Self.master(environment)
      #expect(told?.contains(name) == true)
      #expect(told?.contains("canary") == false)
    }
    let told = await Self.master(Self.keys, flags: Self.flags())
    #expect(told?.hasPrefix("--channel (or KVS_WEBRTC_CHANNEL or AWS_KVS_CHANNEL_NAME) is missing") == true)
  }

  @Test("A channel's name has 1 to 256 letters, digits and _.-")
  func channelNames() async {
    for name in ["a", "Front_door.2-b", String(repeating: "x", count: 256)] {
      let told = await Self.master(Self.keys, flags: Self.flags(channel: name))
      #expect(told == nil, "\(name)")
    }
    for name in ["", "a b", "a/b", "a\n", "ä", String(repeating: "x", count: 257)] {
      let told = await Self.master(Self.keys, flags: Self.flags(channel: name))
      #expect(told?.hasPrefix("--channel is not valid") == true, "\(name)")
      let other = await Self.master(
        Self.keys.merging(["AWS_KVS_CHANNEL_NAME": name]) { $1 }, flags: Self.flags())
      #expect(other?.hasPrefix(name.isEmpty ? "--channel (" : "AWS_KVS_CHANNEL_NAME is not") == true)
    }
  }

  @Test("A picture rate is checked where it came from, and a file that is not there names its flag")
  func clip() async throws {
    let rate = await Self.master(
      Self.keys.merging(["KVS_WEBRTC_FPS": "fast"]) { $1 },
      flags: Self.flags(channel: "door", video: "/nowhere.h264"))
    #expect(rate?.hasPrefix("KVS_WEBRTC_FPS is not valid") == true)
    let file = await Self.master(Self.keys, flags: Self.flags(channel: "door", video: "/nowhere.h264"))
    #expect(file?.hasPrefix("--video") == true)
  }

  @Test("Data channels are answered unless they are to be echoed or refused; the C programs' switches count")
  func dataChannels() throws {
    let standard = DataChannelPolicy.standard
    #expect(try DataChannelPolicy(DataFlags(), Settings([:])) == standard)
    #expect(try DataChannelPolicy(DataFlags(noDataChannels: true), Settings([:])) == .refuse)
    for off in [
      ["KVS_WEBRTC_NO_DATA_CHANNELS": "1"], ["ENABLE_DATA_CHANNEL": "0"], ["ENABLE_SCTP_DATA_CHANNEL": "off"],
    ] {
      #expect(try DataChannelPolicy(DataFlags(), Settings(off)) == .refuse)
      #expect(
        sentence { _ = try DataChannelPolicy(DataFlags(echo: true), Settings(off)) }?.hasPrefix(
          "--data-echo needs data channels") == true)
    }
    guard standard == .answer else { return }
    #expect(try DataChannelPolicy(DataFlags(echo: true), Settings([:])) == .echo)
    #expect(try DataChannelPolicy(DataFlags(), Settings(["KVS_WEBRTC_DATA_ECHO": "yes"])) == .echo)
    #expect(try DataChannelPolicy(DataFlags(), Settings(["ENABLE_SCTP_DATA_CHANNEL": "1"])) == .answer)
    #expect(throws: UsageError.self) {
      try DataChannelPolicy(DataFlags(), Settings(["KVS_WEBRTC_DATA_ECHO": "perhaps"]))
    }
  }

  private static func viewer(
    _ flags: ViewerFlags, _ environment: [String: String] = keys
  ) async -> String? {
    do {
      _ = try await ViewerProgram(flags: flags, settings: Settings(environment), logger: quiet)
      return nil
    } catch { return "\(error)" }
  }

  @Test(
    "A viewer wants a channel, keys, and one direction at least", .enabled(if: DataChannelPolicy.isAvailable))
  func viewers() async {
    let door = ServiceFlags(channel: "door")
    #expect(await Self.viewer(ViewerFlags(service: door, channelIn: true)) == nil)
    #expect(
      await Self.viewer(ViewerFlags(service: door, channelOut: true, linger: "0.5", clientID: "me")) == nil)
    #expect(
      await Self.viewer(ViewerFlags(service: door))?.hasPrefix("--channel-in or --channel-out is missing")
        == true)
    #expect(await Self.viewer(ViewerFlags(channelIn: true))?.hasPrefix("--channel (or ") == true)
    #expect(
      await Self.viewer(ViewerFlags(service: door, channelIn: true), [:])?.hasPrefix("--access-key (") == true
    )
    for (flags, flag) in [
      (ViewerFlags(service: door, channelIn: true, linger: "-1"), "--linger"),
      (ViewerFlags(service: door, channelIn: true, linger: "nan"), "--linger"),
      (ViewerFlags(service: door, channelIn: true, linger: "3601"), "--linger"),
      (ViewerFlags(service: door, channelIn: true, timeout: "0"), "--timeout"),
      (ViewerFlags(service: door, channelIn: true, clientID: "AWS_me"), "--client-id"),
      (
        ViewerFlags(service: door, channelIn: true, dataLabel: String(repeating: "x", count: 256)),
        "--data-label"
      ),
    ] {
      #expect(await Self.viewer(flags)?.hasPrefix("\(flag) is not valid: expected ") == true, "\(flag)")
    }
  }

  @Test("Each kind of error has its exit code")
  func exitCodes() {
    func failure(_ type: String, _ status: Int = 0) -> KinesisVideoError {
      KinesisVideoError(errorType: type, message: "m", statusCode: status)
    }
    #expect(ExitError(UsageError("x")).code == 64)
    #expect(ExitError(UsageError("x")).message == "x")
    #expect(ExitError(failure(KinesisVideoError.invalidConfiguration)).code == 64)
    #expect(ExitError(failure("ResourceNotFoundException", 404)).code == 69)
    #expect(ExitError(failure("InvalidSignatureException", 403)).code == 77)
    #expect(ExitError(ViewerError.notText(line: 3)).code == 65)
    #expect(ExitError(ViewerError.refused).code == 69)
    #expect(ExitError(CancellationError()).code == 1)
  }
}
