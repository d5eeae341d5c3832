// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Settings of every target.
let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("InferIsolatedConformances"),
  .enableUpcomingFeature("ImmutableWeakCaptures"),
  .treatAllWarnings(as: .error),
]

/// Settings of the protocol cores: no unsafe construct without the word `unsafe`, borrowed spans in own types.
let sansIO = common + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

/// Settings of the modules that call C: borrowed spans in own types.
let overC = common + [.enableExperimentalFeature("Lifetimes")]

let nio = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioFoundation = Target.Dependency.product(name: "NIOFoundationEssentialsCompat", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioExtras = Target.Dependency.product(name: "NIOExtras", package: "swift-nio-extras")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let certificates = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let log = Target.Dependency.product(name: "Logging", package: "swift-log")

/// Data channels can be left out (`--disable-default-traits`): then nothing links SCTP, and offers of it are refused.
let sctp = Target.Dependency.target(name: "SCTP", condition: .when(traits: ["DataChannels"]))

let package = Package(
  name: "swift-kvs-webrtc",
  products: [
    .executable(name: "kvs-webrtc", targets: ["kvs-webrtc"]),
    .library(name: "ICE", targets: ["ICE", "SansIO"]),
    .library(name: "SCTP", targets: ["SCTP", "SansIO"]),
    .library(name: "WebRTC", targets: ["WebRTC"]),
    .library(name: "KinesisVideo", targets: ["KinesisVideo"]),
    .library(name: "LocalKinesisVideo", targets: ["LocalKinesisVideo"]),
    .library(name: "WebRTCTesting", targets: ["WebRTCTesting"]),
  ],
  traits: [
    .default(enabledTraits: ["DataChannels"]),
    .trait(name: "DataChannels", description: "Data channels over SCTP (RFC 8831)"),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(
      url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["CommandLineArguments"]),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // base
    .target(name: "SansIO", swiftSettings: sansIO),

    // protocols
    .target(name: "ICE", dependencies: ["SansIO", crypto], swiftSettings: sansIO),
    .systemLibrary(
      name: "COpenSSLHeaders", pkgConfig: "openssl",
      providers: [.apt(["libssl-dev"]), .yum(["openssl-devel"])]),
    .target(name: "COpenSSL", dependencies: ["COpenSSLHeaders"]),
    .target(name: "DTLS", dependencies: ["SansIO", "COpenSSL"], swiftSettings: overC),
    .target(name: "SRTP", dependencies: ["SansIO", "COpenSSL"], swiftSettings: overC),
    .target(name: "SDP", dependencies: ["SansIO"], swiftSettings: sansIO),
    .target(name: "RTP", dependencies: ["SansIO"], swiftSettings: sansIO),
    .target(name: "SCTP", dependencies: ["SansIO", crypto], swiftSettings: sansIO),

    // core
    .target(
      name: "WebRTCCore", dependencies: ["SansIO", "ICE", "DTLS", "SRTP", "SDP", "RTP", sctp],
      swiftSettings: sansIO),

    // network
    .target(
      name: "WebRTC",
      dependencies: [
        "SansIO", "ICE", "DTLS", "SDP", "RTP", sctp, "WebRTCCore", nio, nioPosix, nioHTTP1, nioTLS, nioSSL,
        nioExtras, log,
      ],
      swiftSettings: overC),

    // service
    .target(
      name: "KinesisVideo",
      dependencies: [
        "SansIO", crypto, log, nio, nioPosix, nioHTTP1, nioWebSocket, nioSSL, nioExtras, nioFoundation,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ],
      swiftSettings: common),
    .target(name: "CViewerPage", exclude: ["assets"]),
    .target(
      name: "LocalKinesisVideo",
      dependencies: [
        "SansIO", "ICE", "KinesisVideo", "CViewerPage", crypto, certificates, asn1, log, nio, nioPosix,
        nioHTTP1,
        nioWebSocket, nioSSL, nioFoundation,
      ],
      swiftSettings: common),

    // media
    .target(name: "CSampleClip", exclude: ["assets"]),
    .target(name: "MediaFiles", dependencies: ["SansIO", "RTP", "CSampleClip"], swiftSettings: common),

    // applications
    .target(
      name: "KVSApplications",
      dependencies: [
        "SansIO", "ICE", "WebRTC", "WebRTCCore", "RTP", "SDP", "KinesisVideo", "LocalKinesisVideo",
        "MediaFiles",
        nio, nioPosix, log,
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: common),
    .executableTarget(
      name: "kvs-webrtc",
      dependencies: [
        "KVSApplications", log, .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: common),

    // tests' product
    .target(name: "CVirtualClock"),
    .target(
      name: "WebRTCTesting",
      dependencies: ["SansIO", "WebRTCCore", "ICE", "DTLS", "SRTP", "RTP", sctp, "CVirtualClock"],
      swiftSettings: overC),

    // tests
    .testTarget(name: "SansIOTests", dependencies: ["SansIO"], swiftSettings: common),
    .testTarget(name: "ICETests", dependencies: ["ICE", "SansIO"], swiftSettings: common),
    .testTarget(name: "DTLSTests", dependencies: ["DTLS", "SansIO", "CVirtualClock"], swiftSettings: common),
    .testTarget(name: "SRTPTests", dependencies: ["SRTP", "SansIO"], swiftSettings: common),
    .testTarget(name: "SDPTests", dependencies: ["SDP", "SansIO"], swiftSettings: common),
    .testTarget(name: "RTPTests", dependencies: ["RTP", "SansIO"], swiftSettings: common),
    .testTarget(name: "SCTPTests", dependencies: ["SCTP", "SansIO"], swiftSettings: common),
    .testTarget(
      name: "WebRTCCoreTests", dependencies: ["WebRTCCore", "ICE", "DTLS", "SDP", "RTP", sctp, "SansIO"],
      swiftSettings: common),
    .testTarget(
      name: "SimulationTests",
      dependencies: ["WebRTCTesting", "WebRTCCore", "ICE", "DTLS", "SDP", "RTP", sctp, "SansIO"],
      swiftSettings: common),
    .testTarget(
      name: "WebRTCTests",
      dependencies: [
        "WebRTC", "WebRTCCore", "ICE", "DTLS", "SansIO", "RTP", "SDP", sctp, nio, nioPosix, nioSSL, nioHTTP1,
        log,
      ],
      swiftSettings: common),
    .testTarget(
      name: "KinesisVideoTests",
      dependencies: [
        "KinesisVideo", "SansIO", crypto, log, nio, nioPosix, nioSSL,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ],
      exclude: ["Certificates", "Vectors"],
      swiftSettings: common),
    .testTarget(
      name: "LocalKinesisVideoTests",
      dependencies: ["LocalKinesisVideo", "KinesisVideo", "ICE", "SansIO", nio, nioPosix, nioSSL, log],
      swiftSettings: common),
    .testTarget(
      name: "MediaFilesTests", dependencies: ["MediaFiles", "RTP", "SansIO"], swiftSettings: common),
    .testTarget(
      name: "KVSApplicationsTests",
      dependencies: [
        "KVSApplications", "KinesisVideo", "LocalKinesisVideo", "WebRTC", "ICE", "SansIO", log,
        .product(name: "Configuration", package: "swift-configuration"),
      ],
      swiftSettings: common),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "KVSApplications", "KinesisVideo", "LocalKinesisVideo", "MediaFiles", "WebRTC", "WebRTCCore", "RTP",
        "SDP", "SansIO", nio, nioPosix, log,
      ],
      swiftSettings: common),
    .testTarget(name: "RepositoryTests", swiftSettings: common),
  ]
)
