<?php
// The dashboard. It is for those who are signed in.
declare(strict_types=1);
require __DIR__ . '/../site.php';

$user = signed_in();
if ($user === null) {
    go_to('/wp-login.php');
}
?>
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dashboard – A small blog</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>Dashboard</h1>
<p>Welcome, <strong><?= text($user['display_name']) ?></strong>.</p>
<form method="post" action="/wp-login.php?action=logout"><p><button>Log out</button></p></form>
<form method="post" action="/truelayer/logout"><p><button>Disconnect the bank</button></p></form>
</main>
</body>
</html>
