<?php
// What the pages have in common. It prints nothing itself.
declare(strict_types=1);

// The password of both is "example".
const USERS = [
    'john' => ['display_name' => 'John Doe', 'password' => '$2y$12$plrWaITPdIHUvw.yWDi3/OWLhVaUzSEp/nSuS.bdqwzaeZ.UrPt.2'],
    'jane' => ['display_name' => 'Jane Carter', 'password' => '$2y$12$Ltm7mFUr2/IzlDigqNCHhuQpkyNGsZQY510FsfRAzvHXAbZD1s5fO'],
];

// The hash of a password that nobody knows.
const NOBODY = ['display_name' => '', 'password' => '$2y$12$vWXTBfMse0cJCbO.60i2R.S2oHZzQpQivC76ONfXu1brZOfJEX8IG'];

header("Content-Security-Policy: default-src 'self'; frame-ancestors 'none'");
session_start([
    'cookie_httponly' => true,
    'cookie_samesite' => 'Lax',
    'cookie_secure' => ($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https',
    'use_strict_mode' => true,
]);

/**
 * Returns the name that the visitor's bank has confirmed, or null. The proxy sets both
 * fields, and lets nobody in without a confirmed name. It is checked here once more, so
 * that a mistake in the proxy's configuration opens nothing.
 */
function confirmed_name(): ?string
{
    return ($_SERVER['HTTP_X_NAME_VERIFIED'] ?? '') === 'match' ? ($_SERVER['HTTP_X_NAME'] ?? null) : null;
}

/** Reports whether the account is that of the person whom the bank knows. */
function is_confirmed(array $user): bool
{
    $name = confirmed_name();
    return $name !== null && strcasecmp($name, $user['display_name']) === 0;
}

/** Returns the account that is signed in, or null. */
function signed_in(): ?array
{
    $user = USERS[$_SESSION['user'] ?? ''] ?? null;
    return $user !== null && is_confirmed($user) ? $user : null;
}

/** Returns a text for a page. */
function text(?string $text): string
{
    return htmlspecialchars($text ?? '', ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5);
}

function go_to(string $path): never
{
    header("Location: $path", true, 303);
    exit;
}
