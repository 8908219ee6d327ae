<?php
// The login form. An account can be used only by the person after whom it is named, as
// far as that person's bank confirms the name: a stolen password alone opens nothing.
declare(strict_types=1);
require __DIR__ . '/site.php';

/** Signs in, or returns what is wrong. */
function sign_in(mixed $login, mixed $password): string
{
    if (!is_string($login) || !is_string($password)) {
        return 'Enter a user name and a password.';
    }
    $user = USERS[$login] ?? NOBODY; // an unknown name takes as long as a known one
    if (!password_verify($password, $user['password'])) {
        return 'The user name or the password is wrong.';
    }
    if (!is_confirmed($user)) {
        return 'This account is not in the name that your bank has confirmed.';
    }
    session_regenerate_id(true); // nobody can have planted the new one
    $_SESSION['user'] = $login;
    return '';
}

$problem = '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    if (($_GET['action'] ?? '') === 'logout') {
        $_SESSION = [];
        session_regenerate_id(true);
        go_to('/');
    }
    $problem = sign_in($_POST['log'] ?? '', $_POST['pwd'] ?? '');
    if ($problem === '') {
        go_to('/wp-admin/');
    }
    http_response_code(403);
}
?>
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in – A small blog</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>Log in</h1>
<p>Your bank has confirmed that you are <strong><?= text(confirmed_name()) ?></strong>.
<a href="/truelayer/name?return=/wp-login.php">Change the name</a></p>
<?php if ($problem !== ''): ?>
<p role="alert"><strong><?= text($problem) ?></strong></p>
<?php endif ?>
<form method="post" action="/wp-login.php">
<p><label for="log">User name</label><br><input id="log" name="log" autocomplete="username" required></p>
<p><label for="pwd">Password</label><br><input id="pwd" name="pwd" type="password" autocomplete="current-password" required></p>
<p><button>Log in</button></p>
</form>
</main>
</body>
</html>
